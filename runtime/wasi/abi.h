// WASI preview 1 as bytes: error numbers, flag bits, rights and the layouts of
// its records in guest memory, all little-endian.

#ifndef CALLGATE_RUNTIME_WASI_ABI_H_
#define CALLGATE_RUNTIME_WASI_ABI_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace callgate {
namespace wasi {

enum class Errno : uint16_t {
  kSuccess = 0,
  k2Big = 1,
  kAcces = 2,
  kAddrInUse = 3,
  kAddrNotAvail = 4,
  kAfNoSupport = 5,
  kAgain = 6,
  kAlready = 7,
  kBadf = 8,
  kBadMsg = 9,
  kBusy = 10,
  kCanceled = 11,
  kChild = 12,
  kConnAborted = 13,
  kConnRefused = 14,
  kConnReset = 15,
  kDeadlk = 16,
  kDestAddrReq = 17,
  kDom = 18,
  kDquot = 19,
  kExist = 20,
  kFault = 21,
  kFbig = 22,
  kHostUnreach = 23,
  kIdrm = 24,
  kIlseq = 25,
  kInProgress = 26,
  kIntr = 27,
  kInval = 28,
  kIo = 29,
  kIsConn = 30,
  kIsDir = 31,
  kLoop = 32,
  kMfile = 33,
  kMlink = 34,
  kMsgSize = 35,
  kMultihop = 36,
  kNameTooLong = 37,
  kNetDown = 38,
  kNetReset = 39,
  kNetUnreach = 40,
  kNfile = 41,
  kNoBufs = 42,
  kNoDev = 43,
  kNoEnt = 44,
  kNoExec = 45,
  kNoLck = 46,
  kNoLink = 47,
  kNoMem = 48,
  kNoMsg = 49,
  kNoProtoOpt = 50,
  kNoSpc = 51,
  kNoSys = 52,
  kNotConn = 53,
  kNotDir = 54,
  kNotEmpty = 55,
  kNotRecoverable = 56,
  kNotSock = 57,
  kNotSup = 58,
  kNoTty = 59,
  kNxio = 60,
  kOverflow = 61,
  kOwnerDead = 62,
  kPerm = 63,
  kPipe = 64,
  kProto = 65,
  kProtoNoSupport = 66,
  kPrototype = 67,
  kRange = 68,
  kRofs = 69,
  kSpipe = 70,
  kSrch = 71,
  kStale = 72,
  kTimedOut = 73,
  kTxtBsy = 74,
  kXdev = 75,
  kNotCapable = 76,
};

// What may be done through a descriptor.
namespace rights {
inline constexpr uint64_t kFdDatasync = uint64_t{1} << 0;
inline constexpr uint64_t kFdRead = uint64_t{1} << 1;
inline constexpr uint64_t kFdSeek = uint64_t{1} << 2;
inline constexpr uint64_t kFdFdstatSetFlags = uint64_t{1} << 3;
inline constexpr uint64_t kFdSync = uint64_t{1} << 4;
inline constexpr uint64_t kFdTell = uint64_t{1} << 5;
inline constexpr uint64_t kFdWrite = uint64_t{1} << 6;
inline constexpr uint64_t kFdAdvise = uint64_t{1} << 7;
inline constexpr uint64_t kFdAllocate = uint64_t{1} << 8;
inline constexpr uint64_t kPathCreateDirectory = uint64_t{1} << 9;
inline constexpr uint64_t kPathCreateFile = uint64_t{1} << 10;
inline constexpr uint64_t kPathLinkSource = uint64_t{1} << 11;
inline constexpr uint64_t kPathLinkTarget = uint64_t{1} << 12;
inline constexpr uint64_t kPathOpen = uint64_t{1} << 13;
inline constexpr uint64_t kFdReaddir = uint64_t{1} << 14;
inline constexpr uint64_t kPathReadlink = uint64_t{1} << 15;
inline constexpr uint64_t kPathRenameSource = uint64_t{1} << 16;
inline constexpr uint64_t kPathRenameTarget = uint64_t{1} << 17;
inline constexpr uint64_t kPathFilestatGet = uint64_t{1} << 18;
inline constexpr uint64_t kPathFilestatSetSize = uint64_t{1} << 19;
inline constexpr uint64_t kPathFilestatSetTimes = uint64_t{1} << 20;
inline constexpr uint64_t kFdFilestatGet = uint64_t{1} << 21;
inline constexpr uint64_t kFdFilestatSetSize = uint64_t{1} << 22;
inline constexpr uint64_t kFdFilestatSetTimes = uint64_t{1} << 23;
inline constexpr uint64_t kPathSymlink = uint64_t{1} << 24;
inline constexpr uint64_t kPathRemoveDirectory = uint64_t{1} << 25;
inline constexpr uint64_t kPathUnlinkFile = uint64_t{1} << 26;
inline constexpr uint64_t kPollFdReadwrite = uint64_t{1} << 27;
inline constexpr uint64_t kSockShutdown = uint64_t{1} << 28;
inline constexpr uint64_t kSockAccept = uint64_t{1} << 29;

// Rights that mean something for a regular file, and for a directory.
inline constexpr uint64_t kFile =
    kFdDatasync | kFdRead | kFdSeek | kFdFdstatSetFlags | kFdSync | kFdTell |
    kFdWrite | kFdAdvise | kFdAllocate | kFdFilestatGet | kFdFilestatSetSize |
    kFdFilestatSetTimes | kPollFdReadwrite;
inline constexpr uint64_t kDirectory =
    kFdDatasync | kFdFdstatSetFlags | kFdSync | kPathCreateDirectory |
    kPathCreateFile | kPathLinkSource | kPathLinkTarget | kPathOpen |
    kFdReaddir | kPathReadlink | kPathRenameSource | kPathRenameTarget |
    kPathFilestatGet | kPathFilestatSetSize | kPathFilestatSetTimes |
    kFdFilestatGet | kFdFilestatSetTimes | kPathSymlink | kPathRemoveDirectory |
    kPathUnlinkFile;
// The part of the two that changes nothing on disk.
inline constexpr uint64_t kReadOnly =
    kFdDatasync | kFdRead | kFdSeek | kFdFdstatSetFlags | kFdSync | kFdTell |
    kFdAdvise | kPathOpen | kFdReaddir | kPathReadlink | kPathFilestatGet |
    kFdFilestatGet | kPollFdReadwrite;
}  // namespace rights

enum class Filetype : uint8_t {
  kUnknown = 0,
  kBlockDevice = 1,
  kCharacterDevice = 2,
  kDirectory = 3,
  kRegularFile = 4,
  kSocketDgram = 5,
  kSocketStream = 6,
  kSymbolicLink = 7,
};

namespace fdflags {
inline constexpr uint32_t kAppend = 1;
inline constexpr uint32_t kDsync = 2;
inline constexpr uint32_t kNonblock = 4;
inline constexpr uint32_t kRsync = 8;
inline constexpr uint32_t kSync = 16;
inline constexpr uint32_t kAll = 31;
}  // namespace fdflags

namespace oflags {
inline constexpr uint32_t kCreat = 1;
inline constexpr uint32_t kDirectory = 2;
inline constexpr uint32_t kExcl = 4;
inline constexpr uint32_t kTrunc = 8;
inline constexpr uint32_t kAll = 15;
}  // namespace oflags

namespace lookupflags {
inline constexpr uint32_t kSymlinkFollow = 1;
}  // namespace lookupflags

namespace fstflags {
inline constexpr uint32_t kAtim = 1;
inline constexpr uint32_t kAtimNow = 2;
inline constexpr uint32_t kMtim = 4;
inline constexpr uint32_t kMtimNow = 8;
inline constexpr uint32_t kAll = 15;
}  // namespace fstflags

namespace whence {
inline constexpr uint32_t kSet = 0;
inline constexpr uint32_t kCur = 1;
inline constexpr uint32_t kEnd = 2;
}  // namespace whence

namespace clockid {
inline constexpr uint32_t kRealtime = 0;
inline constexpr uint32_t kMonotonic = 1;
}  // namespace clockid

enum class EventType : uint8_t { kClock = 0, kFdRead = 1, kFdWrite = 2 };
inline constexpr uint16_t kSubclockAbstime = 1;
inline constexpr uint16_t kEventHangup = 1;

// Little-endian integers at `offset` of a record.
template <typename T, size_t N>
void Put(std::array<uint8_t, N>& record, size_t offset, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    record[offset + i] =
        static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i));
  }
}
template <typename T>
T Get(const uint8_t* bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  }
  return static_cast<T>(value);
}

inline constexpr uint64_t kIovecBytes = 8;
inline constexpr uint64_t kSubscriptionBytes = 48;
inline constexpr uint64_t kEventBytes = 32;
inline constexpr uint64_t kDirentBytes = 24;

struct Fdstat {
  Filetype filetype = Filetype::kUnknown;
  uint16_t flags = 0;
  uint64_t rights_base = 0;
  uint64_t rights_inheriting = 0;

  std::array<uint8_t, 24> Encode() const {
    std::array<uint8_t, 24> record{};
    Put(record, 0, static_cast<uint8_t>(filetype));
    Put(record, 2, flags);
    Put(record, 8, rights_base);
    Put(record, 16, rights_inheriting);
    return record;
  }
};

struct Filestat {
  uint64_t dev = 0;
  uint64_t ino = 0;
  Filetype filetype = Filetype::kUnknown;
  uint64_t nlink = 0;
  uint64_t size = 0;
  // Nanoseconds since 1970.
  uint64_t atim = 0;
  uint64_t mtim = 0;
  uint64_t ctim = 0;

  std::array<uint8_t, 64> Encode() const {
    std::array<uint8_t, 64> record{};
    Put(record, 0, dev);
    Put(record, 8, ino);
    Put(record, 16, static_cast<uint8_t>(filetype));
    Put(record, 24, nlink);
    Put(record, 32, size);
    Put(record, 40, atim);
    Put(record, 48, mtim);
    Put(record, 56, ctim);
    return record;
  }
};

// The header of one directory entry; the name follows it, unterminated.
struct Dirent {
  uint64_t next = 0;
  uint64_t ino = 0;
  uint32_t name_bytes = 0;
  Filetype type = Filetype::kUnknown;

  std::array<uint8_t, kDirentBytes> Encode() const {
    std::array<uint8_t, kDirentBytes> record{};
    Put(record, 0, next);
    Put(record, 8, ino);
    Put(record, 16, name_bytes);
    Put(record, 20, static_cast<uint8_t>(type));
    return record;
  }
};

// What a guest waits for in poll_oneoff.
struct Subscription {
  uint64_t userdata = 0;
  uint8_t type = 0;
  // EventType::kClock.
  uint32_t clock = 0;
  uint64_t timeout_ns = 0;
  uint16_t clock_flags = 0;
  // The other two.
  uint32_t fd = 0;

  // From kSubscriptionBytes bytes.
  static Subscription Decode(const uint8_t* bytes) {
    Subscription s;
    s.userdata = Get<uint64_t>(bytes);
    s.type = bytes[8];
    s.clock = Get<uint32_t>(bytes + 16);
    s.fd = s.clock;
    s.timeout_ns = Get<uint64_t>(bytes + 24);
    s.clock_flags = Get<uint16_t>(bytes + 40);
    return s;
  }
};

struct Event {
  uint64_t userdata = 0;
  Errno error = Errno::kSuccess;
  uint8_t type = 0;
  uint64_t bytes_ready = 0;
  uint16_t flags = 0;

  std::array<uint8_t, kEventBytes> Encode() const {
    std::array<uint8_t, kEventBytes> record{};
    Put(record, 0, userdata);
    Put(record, 8, static_cast<uint16_t>(error));
    Put(record, 10, type);
    Put(record, 16, bytes_ready);
    Put(record, 24, flags);
    return record;
  }
};

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_ABI_H_
