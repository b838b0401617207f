#include "runtime/wasi/file_status.h"

#include <dirent.h>

#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;

// Times before 1970 and after 2554 do not fit WASI's: they become its ends.
uint64_t Nanoseconds(const timespec& time) {
  if (time.tv_sec < 0) return 0;
  const auto seconds = static_cast<uint64_t>(time.tv_sec);
  if (seconds >= ~uint64_t{0} / kSecondNs) return ~uint64_t{0};
  return seconds * kSecondNs + static_cast<uint64_t>(time.tv_nsec);
}

timespec TimeOf(uint64_t ns, bool set, bool now) {
  timespec time{};
  if (now) {
    time.tv_nsec = UTIME_NOW;
  } else if (!set) {
    time.tv_nsec = UTIME_OMIT;
  } else {
    time.tv_sec = static_cast<time_t>(ns / kSecondNs);
    time.tv_nsec = static_cast<long>(ns % kSecondNs);
  }
  return time;
}

}  // namespace

Filetype FiletypeOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFBLK:
      return Filetype::kBlockDevice;
    case S_IFCHR:
      return Filetype::kCharacterDevice;
    case S_IFDIR:
      return Filetype::kDirectory;
    case S_IFREG:
      return Filetype::kRegularFile;
    case S_IFSOCK:
      return Filetype::kSocketStream;
    case S_IFLNK:
      return Filetype::kSymbolicLink;
    default:
      return Filetype::kUnknown;
  }
}

Filetype FiletypeOfEntry(unsigned char type) {
  return FiletypeOf(static_cast<mode_t>(DTTOIF(type)));
}

OutcomeOr<Filestat> FilestatOf(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return FromHostErrno(errno);
  Filestat result;
  result.dev = status.st_dev;
  result.ino = status.st_ino;
  result.filetype = FiletypeOf(status.st_mode);
  result.nlink = status.st_nlink;
  result.size = static_cast<uint64_t>(status.st_size);
  result.atim = Nanoseconds(status.st_atim);
  result.mtim = Nanoseconds(status.st_mtim);
  result.ctim = Nanoseconds(status.st_ctim);
  return result;
}

OutcomeOr<std::array<timespec, 2>> TimesToSet(uint64_t atim_ns,
                                              uint64_t mtim_ns,
                                              uint32_t flags) {
  const bool atim = (flags & fstflags::kAtim) != 0;
  const bool atim_now = (flags & fstflags::kAtimNow) != 0;
  const bool mtim = (flags & fstflags::kMtim) != 0;
  const bool mtim_now = (flags & fstflags::kMtimNow) != 0;
  if ((flags & ~fstflags::kAll) != 0 || (atim && atim_now) ||
      (mtim && mtim_now)) {
    return Errno::kInval;
  }
  return std::array<timespec, 2>{TimeOf(atim_ns, atim, atim_now),
                                 TimeOf(mtim_ns, mtim, mtim_now)};
}

}  // namespace wasi
}  // namespace callgate
