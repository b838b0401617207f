// fd_readdir: the entries of a directory from a cookie on, as many as the
// guest's buffer holds. The last one may be cut; a buffer that is not full
// tells the guest that there are no more.
//
// A cookie is the position that the file system gave the next entry, so the
// host keeps nothing between calls but the open directory.

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "absl/strings/string_view.h"
#include "runtime/wasi/file_status.h"
#include "runtime/wasi/functions.h"
#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

// How getdents64 lays out an entry; the name follows, with a NUL.
struct HostEntry {
  uint64_t ino = 0;
  uint64_t next = 0;
  uint16_t bytes = 0;
  unsigned char type = DT_UNKNOWN;
  static constexpr size_t kNameOffset = 19;

  static HostEntry Decode(const uint8_t* at) {
    HostEntry entry;
    std::memcpy(&entry.ino, at, 8);
    std::memcpy(&entry.next, at + 8, 8);
    std::memcpy(&entry.bytes, at + 16, 2);
    entry.type = at[18];
    return entry;
  }
};

// The directory open for listing, at `cookie`.
OutcomeOr<int> Listing(Handle& handle, uint64_t cookie) {
  if (!handle.listing.valid()) {
    handle.listing = UniqueFd(RetryOnSignal([&] {
      return openat(handle.fd.get(), ".",
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }));
    if (!handle.listing.valid()) return FromHostErrno(errno);
  }
  const int fd = handle.listing.get();
  if (cookie > static_cast<uint64_t>(std::numeric_limits<off_t>::max())) {
    return Errno::kInval;
  }
  if (lseek(fd, static_cast<off_t>(cookie), SEEK_SET) < 0) {
    return FromHostErrno(errno);
  }
  return fd;
}

Filetype TypeOf(int directory, const HostEntry& entry, const char* name) {
  if (entry.type != DT_UNKNOWN) return FiletypeOfEntry(entry.type);
  struct stat status {};
  if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return Filetype::kUnknown;
  }
  return FiletypeOf(status.st_mode);
}

// Writes to a range of guest memory, one piece after another, until it is full.
class RangeWriter {
 public:
  RangeWriter(HostCall& call, uint32_t address, uint32_t length)
      : call_(call), address_(address), length_(length) {}

  bool full() const { return used_ == length_; }
  uint32_t used() const { return used_; }

  Outcome Append(absl::Span<const uint8_t> bytes) {
    const size_t count = std::min<size_t>(bytes.size(), length_ - used_);
    if (count == 0) return Errno::kSuccess;
    const Outcome written =
        call_.Write(uint64_t{address_} + used_, bytes.subspan(0, count));
    used_ += static_cast<uint32_t>(count);
    return written;
  }

 private:
  HostCall& call_;
  const uint32_t address_;
  const uint32_t length_;
  uint32_t used_ = 0;
};

Outcome AppendEntry(RangeWriter& out, int directory, const uint8_t* at) {
  const HostEntry entry = HostEntry::Decode(at);
  // SAFETY: the kernel ends the name with a NUL inside the entry; uint8_t and
  // char alias.
  const char* name = reinterpret_cast<const char*>(at + HostEntry::kNameOffset);
  const absl::string_view name_view(name);
  Dirent record;
  record.next = entry.next;
  // The parent of a preopened directory is none of the guest's business.
  record.ino = name_view == ".." ? 0 : entry.ino;
  record.name_bytes = static_cast<uint32_t>(name_view.size());
  record.type = TypeOf(directory, entry, name);
  const Outcome header = out.Append(record.Encode());
  if (!header.ok()) return header;
  return out.Append(
      absl::MakeConstSpan(at + HostEntry::kNameOffset, name_view.size()));
}

}  // namespace

// (descriptor, buffer, its length, cookie, where the used length goes)
Outcome FdReaddir(HostCall& call) {
  const OutcomeOr<Handle*> handle =
      call.FindDirectory(call.U32(0), rights::kFdReaddir);
  if (!handle.ok()) return handle.failure();
  Outcome inside = call.InBounds(call.U32(1), call.U32(2));
  if (!inside.ok()) return inside;
  inside = call.InBounds(call.U32(4), 4);
  if (!inside.ok()) return inside;
  const OutcomeOr<int> directory = Listing(**handle, call.U64(3));
  if (!directory.ok()) return directory.failure();

  RangeWriter out(call, call.U32(1), call.U32(2));
  uint8_t* const buffer = call.state().buffer.data();
  while (!out.full()) {
    const long got = RetryOnSignal([&] {
      return syscall(SYS_getdents64, *directory, buffer, kBufferBytes);
    });
    if (got < 0) return FromHostErrno(errno);
    if (got == 0) break;
    // SAFETY: the kernel filled `got` bytes of the buffer with whole entries,
    // each of which states its length.
    for (long at = 0; at < got && !out.full();) {
      const Outcome appended = AppendEntry(out, *directory, buffer + at);
      if (!appended.ok()) return appended;
      at += HostEntry::Decode(buffer + at).bytes;
    }
    const Outcome goes_on = call.CheckInterrupted();
    if (!goes_on.ok()) return goes_on;
  }
  return call.WriteU32(call.U32(4), out.used());
}

}  // namespace wasi
}  // namespace callgate
