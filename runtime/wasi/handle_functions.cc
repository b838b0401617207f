// Functions on open descriptors other than moving bytes and listing.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <limits>

#include "runtime/wasi/file_status.h"
#include "runtime/wasi/functions.h"
#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

constexpr uint64_t kSizeMax =
    static_cast<uint64_t>(std::numeric_limits<off_t>::max());

// Flags that a file keeps from when it was opened.
constexpr uint32_t kFixedFlags =
    fdflags::kDsync | fdflags::kRsync | fdflags::kSync;

// The open file behind `fd`. kIsDir and, for streams, kSpipe come before
// missing rights: they tell more.
OutcomeOr<Handle*> FindFile(HostCall& call, uint32_t fd, uint64_t rights) {
  Handle* handle = call.state().handles.Find(fd);
  if (handle == nullptr) return Errno::kBadf;
  if (handle->kind == Handle::Kind::kDirectory) return Errno::kIsDir;
  if (handle->is_stream()) return Errno::kSpipe;
  return call.Find(fd, rights);
}

Filetype StreamFiletype(HostCall& call, const Handle& handle) {
  const bool terminal = call.state().terminal[static_cast<size_t>(handle.kind)];
  return terminal ? Filetype::kCharacterDevice : Filetype::kUnknown;
}

OutcomeOr<Filestat> FilestatOfHandle(HostCall& call, const Handle& handle) {
  if (!handle.is_stream()) return FilestatOf(handle.fd.get());
  Filestat status;
  status.filetype = StreamFiletype(call, handle);
  return status;
}

// A descriptor of a directory that more can be done with than look up paths.
OutcomeOr<UniqueFd> Reopen(const Handle& directory) {
  UniqueFd fd(RetryOnSignal([&] {
    return openat(directory.fd.get(), ".",
                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  }));
  if (!fd.valid()) return FromHostErrno(errno);
  return fd;
}

Outcome Sync(HostCall& call, uint64_t needed, int (*sync)(int)) {
  const OutcomeOr<Handle*> handle = call.Find(call.U32(0), needed);
  if (!handle.ok()) return handle.failure();
  if ((*handle)->is_stream()) return Errno::kInval;
  int fd = (*handle)->fd.get();
  UniqueFd reopened;
  if ((*handle)->kind == Handle::Kind::kDirectory) {
    OutcomeOr<UniqueFd> directory = Reopen(**handle);
    if (!directory.ok()) return directory.failure();
    reopened = std::move(*directory);
    fd = reopened.get();
  }
  if (RetryOnSignal([&] { return sync(fd); }) != 0) {
    return FromHostErrno(errno);
  }
  return Errno::kSuccess;
}

}  // namespace

// (descriptor, offset, length, advice)
Outcome FdAdvise(HostCall& call) {
  constexpr int kAdvice[] = {POSIX_FADV_NORMAL,   POSIX_FADV_SEQUENTIAL,
                             POSIX_FADV_RANDOM,   POSIX_FADV_WILLNEED,
                             POSIX_FADV_DONTNEED, POSIX_FADV_NOREUSE};
  const uint64_t offset = call.U64(1);
  const uint64_t length = call.U64(2);
  const uint32_t advice = call.U32(3);
  const OutcomeOr<Handle*> handle =
      FindFile(call, call.U32(0), rights::kFdAdvise);
  if (!handle.ok()) return handle.failure();
  if (advice >= std::size(kAdvice) || offset > kSizeMax || length > kSizeMax) {
    return Errno::kInval;
  }
  return FromHostErrno(
      posix_fadvise((*handle)->fd.get(), static_cast<off_t>(offset),
                    static_cast<off_t>(length), kAdvice[advice]));
}

// (descriptor, offset, length)
Outcome FdAllocate(HostCall& call) {
  const uint64_t offset = call.U64(1);
  const uint64_t length = call.U64(2);
  const OutcomeOr<Handle*> handle =
      FindFile(call, call.U32(0), rights::kFdAllocate);
  if (!handle.ok()) return handle.failure();
  if (length == 0) return Errno::kInval;
  if (offset > kSizeMax || length > kSizeMax - offset) return Errno::kFbig;
  // Not posix_fallocate, which writes every block where the file system cannot.
  const int done = RetryOnSignal([&] {
    return fallocate((*handle)->fd.get(), 0, static_cast<off_t>(offset),
                     static_cast<off_t>(length));
  });
  return done == 0 ? Errno::kSuccess : FromHostErrno(errno);
}

// (descriptor)
Outcome FdClose(HostCall& call) {
  return call.state().handles.Close(call.U32(0));
}

// (descriptor)
Outcome FdDatasync(HostCall& call) {
  return Sync(call, rights::kFdDatasync, fdatasync);
}
Outcome FdSync(HostCall& call) { return Sync(call, rights::kFdSync, fsync); }

// (descriptor, where the record goes)
Outcome FdFdstatGet(HostCall& call) {
  const OutcomeOr<Handle*> handle = call.Find(call.U32(0), 0);
  if (!handle.ok()) return handle.failure();
  Fdstat status;
  switch ((*handle)->kind) {
    case Handle::Kind::kFile:
      status.filetype = Filetype::kRegularFile;
      break;
    case Handle::Kind::kDirectory:
      status.filetype = Filetype::kDirectory;
      break;
    default:
      status.filetype = StreamFiletype(call, **handle);
  }
  status.flags = static_cast<uint16_t>((*handle)->flags);
  status.rights_base = (*handle)->rights_base;
  status.rights_inheriting = (*handle)->rights_inheriting;
  return call.Write(call.U32(1), status.Encode());
}

// (descriptor, flags)
Outcome FdFdstatSetFlags(HostCall& call) {
  const uint32_t flags = call.U32(1);
  const OutcomeOr<Handle*> handle =
      call.Find(call.U32(0), rights::kFdFdstatSetFlags);
  if (!handle.ok()) return handle.failure();
  if ((flags & ~fdflags::kAll) != 0) return Errno::kInval;
  if ((flags & kFixedFlags) != ((*handle)->flags & kFixedFlags)) {
    return Errno::kNotSup;
  }
  if ((*handle)->kind == Handle::Kind::kDirectory) {
    return (flags & fdflags::kAppend) != 0 ? Errno::kInval : Errno::kSuccess;
  }
  if ((*handle)->kind == Handle::Kind::kFile) {
    const int fd = (*handle)->fd.get();
    const int old = fcntl(fd, F_GETFL);
    if (old < 0) return FromHostErrno(errno);
    const int wanted =
        (flags & fdflags::kAppend) != 0 ? old | O_APPEND : old & ~O_APPEND;
    if (fcntl(fd, F_SETFL, wanted) != 0) return FromHostErrno(errno);
  }
  (*handle)->flags = flags;
  return Errno::kSuccess;
}

// (descriptor, rights, rights of what is opened through it)
Outcome FdFdstatSetRights(HostCall& call) {
  const uint64_t base = call.U64(1);
  const uint64_t inheriting = call.U64(2);
  const OutcomeOr<Handle*> handle = call.Find(call.U32(0), base);
  if (!handle.ok()) return handle.failure();
  if ((inheriting & ~(*handle)->rights_inheriting) != 0) {
    return Errno::kNotCapable;
  }
  (*handle)->rights_base = base;
  (*handle)->rights_inheriting = inheriting;
  return Errno::kSuccess;
}

// (descriptor, where the record goes)
Outcome FdFilestatGet(HostCall& call) {
  const OutcomeOr<Handle*> handle =
      call.Find(call.U32(0), rights::kFdFilestatGet);
  if (!handle.ok()) return handle.failure();
  const OutcomeOr<Filestat> status = FilestatOfHandle(call, **handle);
  if (!status.ok()) return status.failure();
  return call.Write(call.U32(1), status->Encode());
}

// (descriptor, size)
Outcome FdFilestatSetSize(HostCall& call) {
  const uint64_t size = call.U64(1);
  const OutcomeOr<Handle*> handle =
      FindFile(call, call.U32(0), rights::kFdFilestatSetSize);
  if (!handle.ok()) return handle.failure();
  if (size > kSizeMax) return Errno::kFbig;
  const int done = RetryOnSignal(
      [&] { return ftruncate((*handle)->fd.get(), static_cast<off_t>(size)); });
  return done == 0 ? Errno::kSuccess : FromHostErrno(errno);
}

// (descriptor, access time, modification time, flags)
Outcome FdFilestatSetTimes(HostCall& call) {
  const OutcomeOr<Handle*> handle =
      call.Find(call.U32(0), rights::kFdFilestatSetTimes);
  if (!handle.ok()) return handle.failure();
  if ((*handle)->is_stream()) return Errno::kInval;
  const OutcomeOr<std::array<timespec, 2>> times =
      TimesToSet(call.U64(1), call.U64(2), call.U32(3));
  if (!times.ok()) return times.failure();
  const int done =
      utimensat((*handle)->fd.get(), "", times->data(), AT_EMPTY_PATH);
  return done == 0 ? Errno::kSuccess : FromHostErrno(errno);
}

// (descriptor, where the name goes, room for it)
Outcome FdPrestatDirName(HostCall& call) {
  const OutcomeOr<Handle*> handle = call.Find(call.U32(0), 0);
  if (!handle.ok()) return handle.failure();
  if (!(*handle)->preopen_name.has_value()) return Errno::kBadf;
  const std::string& name = *(*handle)->preopen_name;
  if (call.U32(2) < name.size()) return Errno::kNameTooLong;
  // SAFETY: uint8_t may alias char; the span is the string's own bytes.
  return call.Write(
      call.U32(1),
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(name.data()),
                          name.size()));
}

// (descriptor, where the record goes)
Outcome FdPrestatGet(HostCall& call) {
  const OutcomeOr<Handle*> handle = call.Find(call.U32(0), 0);
  if (!handle.ok()) return handle.failure();
  // C libraries ask about 3, 4, … until this answer.
  if (!(*handle)->preopen_name.has_value()) return Errno::kBadf;
  std::array<uint8_t, 8> record{};
  Put(record, 4, static_cast<uint32_t>((*handle)->preopen_name->size()));
  return call.Write(call.U32(1), record);
}

// (descriptor, the number it gets)
Outcome FdRenumber(HostCall& call) {
  return call.state().handles.Renumber(call.U32(0), call.U32(1));
}

}  // namespace wasi
}  // namespace callgate
