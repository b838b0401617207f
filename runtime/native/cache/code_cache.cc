// DIR/<64 hex digits> is an entry: a head, then the bytes. The head is
//   magic (8 bytes), length of the bytes (8, little-endian), MAC (32)
// where the MAC is over magic, key, length and bytes. DIR/tmp-<16 hex digits>
// is an entry being written; its writer holds a lock on it. Names here are made
// of a key's bits or random ones and have no part that came from outside.

#include "runtime/native/cache/code_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/native/cache/folder.h"

namespace callgate::native {
namespace {

constexpr absl::string_view kMagic("CGCODE1\n", 8);
constexpr size_t kLengthBytes = 8;
constexpr size_t kHeadBytes = 8 + kLengthBytes + CacheMac::kBytes;
constexpr absl::string_view kUnfinishedPrefix = "tmp-";
// Read and authenticated at a time, while it is in the processor's cache.
constexpr size_t kChunkBytes = 128 << 10;
constexpr uint64_t kBlockBytes = 4096;
constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * kNanosecondsPerSecond + time.tv_nsec;
}

int64_t NowNs() {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  return Nanoseconds(now);
}

uint64_t OnDisk(uint64_t file_bytes) {
  return (file_bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

std::string EncodeLength(uint64_t length) {
  std::string text;
  for (int shift = 0; shift < 64; shift += 8) {
    text.push_back(static_cast<char>(length >> shift & 0xff));
  }
  return text;
}

// SAFETY: a view of the array's own bytes as char.
absl::string_view View(const std::array<uint8_t, 32>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void BeginMac(const CacheKey& key, absl::string_view length,
              CacheMac::Stream& stream) {
  stream.Update(kMagic);
  stream.Update(View(key.bytes()));
  stream.Update(length);
}

// A new file for an entry, open and locked, and its name. Whoever finds it
// unlocked removes it (RemoveAbandoned).
absl::StatusOr<int> MakeUnfinished(int folder_fd, std::string& name) {
  for (;;) {
    uint64_t number = 0;
    if (getrandom(&number, sizeof number, 0) != sizeof number) {
      return absl::ErrnoToStatus(errno, "cannot get random bytes");
    }
    name = absl::StrCat(kUnfinishedPrefix, absl::Hex(number, absl::kZeroPad16));
    const int fd =
        openat(folder_fd, name.c_str(),
               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
      return absl::ErrnoToStatus(
          errno, absl::StrCat("cannot make ", name, " in the cache's folder"));
    }
    struct stat file = {};
    if (flock(fd, LOCK_EX) != 0 || fstat(fd, &file) != 0) {
      const int error = errno;
      unlinkat(folder_fd, name.c_str(), 0);
      close(fd);
      return absl::ErrnoToStatus(
          error, absl::StrCat("cannot lock ", name, " in the cache's folder"));
    }
    // Unless it was found before it was locked.
    if (file.st_nlink > 0) return fd;
    close(fd);
  }
}

void RemoveAbandoned(int folder_fd, const std::string& name) {
  const int fd = openat(folder_fd, name.c_str(),
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlinkat(folder_fd, name.c_str(), 0);
  close(fd);
}

}  // namespace

// What is found under a key.
struct CodeCache::Candidate {
  enum Kind { kAbsent, kGood, kCorrupt } kind = kAbsent;
  std::string bytes;
  uint64_t on_disk = 0;
};

absl::StatusOr<std::unique_ptr<CodeCache>> CodeCache::Open(
    const Options& options) {
  const absl::StatusOr<int> fd = OpenPrivateFolder(options.folder);
  if (!fd.ok()) return fd.status();
  auto close_fd = absl::MakeCleanup([&fd] { close(*fd); });
  if (flock(*fd, LOCK_EX) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot lock the folder ", options.folder));
  }
  absl::StatusOr<std::unique_ptr<const CacheMac>> mac =
      CacheMac::Open(*fd, options.folder);
  flock(*fd, LOCK_UN);
  if (!mac.ok()) return mac.status();
  std::unique_ptr<CodeCache> cache(
      new CodeCache(options, *fd, *std::move(mac)));
  std::move(close_fd).Cancel();
  const absl::Status scanned = cache->Scan();
  if (!scanned.ok()) return scanned;
  return cache;
}

CodeCache::CodeCache(const Options& options, int folder_fd,
                     std::unique_ptr<const CacheMac> mac)
    : options_(options),
      folder_fd_(folder_fd),
      mac_(std::move(mac)),
      index_(options.bytes_max, options.entries_max) {}

CodeCache::~CodeCache() { close(folder_fd_); }

std::optional<std::string> CodeCache::Lookup(const CacheKey& key) {
  Candidate found = Read(key);
  std::vector<CacheKey> evicted;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (found.kind == Candidate::kGood) {
      ++stats_.hits;
      index_.Touch(key, found.on_disk, NowNs());
      // Another process may have stored it.
      evicted = MakeRoomLocked();
    } else {
      ++stats_.misses;
      if (found.kind == Candidate::kCorrupt) ++stats_.corrupt;
      index_.Erase(key);
    }
  }
  Unlink(evicted);
  if (found.kind != Candidate::kGood) return std::nullopt;
  return std::move(found.bytes);
}

absl::Status CodeCache::Store(const CacheKey& key, absl::string_view bytes) {
  const uint64_t on_disk = OnDisk(kHeadBytes + bytes.size());
  std::vector<CacheKey> evicted;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (bytes.size() > options_.entry_bytes_max ||
        on_disk > options_.bytes_max - storing_bytes_ ||
        storing_entries_ == options_.entries_max) {
      ++stats_.store_errors;
      return absl::ResourceExhaustedError(absl::StrCat(
          bytes.size(), " bytes of code are not cached: an entry has at most ",
          options_.entry_bytes_max, ", and ", storing_bytes_, " of the ",
          options_.bytes_max, " of ", options_.folder,
          " are being written to"));
    }
    storing_bytes_ += on_disk;
    ++storing_entries_;
    evicted = MakeRoomLocked();
  }
  Unlink(evicted);

  const absl::Status written = Write(key, bytes);
  bool scan = false;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    storing_bytes_ -= on_disk;
    --storing_entries_;
    if (!written.ok()) {
      ++stats_.store_errors;
      return written;
    }
    ++stats_.stored;
    index_.Touch(key, on_disk, NowNs());
    bytes_since_scan_ += on_disk;
    scan = bytes_since_scan_ > options_.bytes_max / 8;
  }
  // What other processes stored. That it fails is no reason to complain: the
  // entry is there.
  if (scan) Scan().IgnoreError();
  return absl::OkStatus();
}

void CodeCache::Remove(const CacheKey& key) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    index_.Erase(key);
  }
  Unlink({key});
}

CodeCache::Stats CodeCache::stats() const {
  const std::lock_guard<std::mutex> lock(mu_);
  Stats stats = stats_;
  stats.bytes = index_.bytes() + storing_bytes_;
  stats.entries = index_.entries();
  return stats;
}

absl::Status CodeCache::Scan() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (scanning_) return absl::OkStatus();
    scanning_ = true;
    bytes_since_scan_ = 0;
    index_.BeginScan();
  }
  absl::Status status;
  const int fd =
      openat(folder_fd_, ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR* const folder = fd < 0 ? nullptr : fdopendir(fd);
  if (folder == nullptr) {
    status = absl::ErrnoToStatus(
        errno, absl::StrCat("cannot read the folder ", options_.folder));
    if (fd >= 0) close(fd);
  } else {
    errno = 0;
    while (const dirent* const entry = readdir(folder)) {
      LookAt(entry->d_name);
      errno = 0;
    }
    if (errno != 0) {
      status = absl::ErrnoToStatus(
          errno, absl::StrCat("cannot read the folder ", options_.folder));
    }
    closedir(folder);
  }
  const std::lock_guard<std::mutex> lock(mu_);
  scanning_ = false;
  if (status.ok()) index_.EndScan();
  return status;
}

// One name of the folder. Names that this class does not make stay.
void CodeCache::LookAt(const std::string& name) {
  if (absl::StartsWith(name, kUnfinishedPrefix)) {
    RemoveAbandoned(folder_fd_, name);
    return;
  }
  const std::optional<CacheKey> key = CacheKey::Parse(name);
  if (!key.has_value()) return;
  struct stat file = {};
  if (fstatat(folder_fd_, name.c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(file.st_mode)) {
    return;
  }
  const auto size = static_cast<uint64_t>(file.st_size);
  // A time in the future says nothing.
  int64_t used_ns = Nanoseconds(file.st_mtim);
  if (used_ns > NowNs()) used_ns = 0;
  std::vector<CacheKey> evicted;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (size > kHeadBytes + options_.entry_bytes_max) {
      // No entry, and not to push out those that are.
      ++stats_.corrupt;
      evicted.push_back(*key);
    } else {
      index_.Found(*key, OnDisk(size), used_ns);
      evicted = MakeRoomLocked();
    }
  }
  Unlink(evicted);
}

CodeCache::Candidate CodeCache::Read(const CacheKey& key) const {
  const std::string name = key.hex();
  Candidate found;
  // Without waiting for the writer of what turns out to be a pipe.
  const int fd = openat(folder_fd_, name.c_str(),
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    // A symbolic link (ELOOP) or a socket (ENXIO) is no entry. Whatever else
    // may pass is only a miss.
    if (errno == ELOOP || errno == ENXIO) {
      found.kind = Candidate::kCorrupt;
      unlinkat(folder_fd_, name.c_str(), 0);
    }
    return found;
  }
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  struct stat file = {};
  if (fstat(fd, &file) != 0) return found;

  const bool good = [&] {
    const auto size = static_cast<uint64_t>(file.st_size);
    if (!S_ISREG(file.st_mode) || size < kHeadBytes ||
        size - kHeadBytes > options_.entry_bytes_max) {
      return false;
    }
    const std::string length = EncodeLength(size - kHeadBytes);
    char head[kHeadBytes];
    if (!ReadAll(fd, head, kHeadBytes) ||
        absl::string_view(head, kMagic.size()) != kMagic ||
        absl::string_view(head + kMagic.size(), kLengthBytes) != length) {
      return false;
    }
    CacheMac::Mac mac = {};
    std::memcpy(mac.data(), head + kMagic.size() + kLengthBytes, mac.size());

    CacheMac::Stream stream(*mac_);
    BeginMac(key, length, stream);
    found.bytes.resize(static_cast<size_t>(size - kHeadBytes));
    for (size_t at = 0; at < found.bytes.size(); at += kChunkBytes) {
      const size_t chunk = std::min(kChunkBytes, found.bytes.size() - at);
      if (!ReadAll(fd, &found.bytes[at], chunk)) return false;
      stream.Update(absl::string_view(&found.bytes[at], chunk));
    }
    return CacheMac::Same(stream.Finish(), mac);
  }();

  if (good) {
    found.kind = Candidate::kGood;
    found.on_disk = OnDisk(static_cast<uint64_t>(file.st_size));
    // Where the next process reads when it was last used. That this fails, on
    // a disk that has become read-only, costs no more than a wrong order.
    const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    futimens(fd, times);
    return found;
  }
  found.kind = Candidate::kCorrupt;
  found.bytes.clear();
  // Unless it was replaced meanwhile.
  struct stat now = {};
  if (fstatat(folder_fd_, name.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0 &&
      now.st_dev == file.st_dev && now.st_ino == file.st_ino) {
    unlinkat(folder_fd_, name.c_str(),
             S_ISDIR(file.st_mode) ? AT_REMOVEDIR : 0);
  }
  return found;
}

absl::Status CodeCache::Write(const CacheKey& key,
                              absl::string_view bytes) const {
  const std::string length = EncodeLength(bytes.size());
  CacheMac::Stream stream(*mac_);
  BeginMac(key, length, stream);
  stream.Update(bytes);
  const CacheMac::Mac mac = stream.Finish();

  std::string temporary;
  const absl::StatusOr<int> made = MakeUnfinished(folder_fd_, temporary);
  if (!made.ok()) return made.status();
  const int fd = *made;
  // Last, so that the lock is held until the name is the entry's.
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  if (WriteAll(fd, absl::StrCat(kMagic, length, View(mac))) &&
      WriteAll(fd, bytes) &&
      renameat(folder_fd_, temporary.c_str(), folder_fd_, key.hex().c_str()) ==
          0) {
    return absl::OkStatus();
  }
  const absl::Status failed = absl::ErrnoToStatus(
      errno, absl::StrCat("cannot write ", options_.folder, "/", temporary));
  unlinkat(folder_fd_, temporary.c_str(), 0);
  return failed;
}

void CodeCache::Unlink(const std::vector<CacheKey>& keys) const {
  for (const CacheKey& key : keys) {
    unlinkat(folder_fd_, key.hex().c_str(), 0);
  }
}

std::vector<CacheKey> CodeCache::MakeRoomLocked() {
  std::vector<CacheKey> evicted =
      index_.MakeRoom(storing_bytes_, storing_entries_);
  stats_.evicted += evicted.size();
  return evicted;
}

}  // namespace callgate::native
