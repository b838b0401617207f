// path_open: the one way to a new handle.
//
// Looks first, with O_PATH, which has no effect on whatever it finds: opening a
// pipe, a device or a socket for real could block or do something. Then opens
// again, as asked; what was looked at may have been replaced meanwhile, so the
// second descriptor is judged once more. Both lookups are confined.

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>

#include "runtime/wasi/confined_path.h"
#include "runtime/wasi/file_status.h"
#include "runtime/wasi/functions.h"

namespace callgate {
namespace wasi {
namespace {

struct Request {
  bool follow = false;
  uint32_t oflags = 0;
  uint64_t rights_base = 0;
  uint64_t rights_inheriting = 0;
  uint32_t fdflags = 0;

  bool Has(uint32_t flag) const { return (oflags & flag) != 0; }
  bool reads() const { return (rights_base & rights::kFdRead) != 0; }
  bool writes() const { return (rights_base & rights::kFdWrite) != 0; }
};

// What opening something that is there comes to, before it is opened.
Outcome MayOpen(const Request& request, Filetype filetype) {
  const bool exclusive =
      request.Has(oflags::kCreat) && request.Has(oflags::kExcl);
  if (exclusive) return Errno::kExist;
  switch (filetype) {
    case Filetype::kRegularFile:
      return Errno::kSuccess;
    case Filetype::kDirectory:
      return request.writes() || request.Has(oflags::kCreat) ||
                     request.Has(oflags::kTrunc)
                 ? Errno::kIsDir
                 : Errno::kSuccess;
    case Filetype::kSymbolicLink:
      return Errno::kLoop;
    default:
      return Errno::kNotSup;
  }
}

int OpenFlags(const Request& request) {
  // O_NONBLOCK matters only if a pipe took the file's place.
  int flags = O_NONBLOCK | O_NOCTTY;
  if (request.reads() && request.writes()) {
    flags |= O_RDWR;
  } else {
    flags |= request.writes() ? O_WRONLY : O_RDONLY;
  }
  if (!request.follow) flags |= O_NOFOLLOW;
  if (request.Has(oflags::kCreat)) flags |= O_CREAT;
  if (request.Has(oflags::kExcl)) flags |= O_EXCL;
  if (request.Has(oflags::kTrunc)) flags |= O_TRUNC;
  if ((request.fdflags & fdflags::kAppend) != 0) flags |= O_APPEND;
  if ((request.fdflags & fdflags::kDsync) != 0) flags |= O_DSYNC;
  if ((request.fdflags & (fdflags::kSync | fdflags::kRsync)) != 0) {
    flags |= O_SYNC;
  }
  return flags;
}

Handle DirectoryHandle(const Request& request, UniqueFd fd) {
  Handle handle;
  handle.kind = Handle::Kind::kDirectory;
  handle.fd = std::move(fd);
  handle.rights_base = request.rights_base & rights::kDirectory;
  handle.rights_inheriting = request.rights_inheriting;
  return handle;
}

Handle FileHandle(const Request& request, UniqueFd fd) {
  Handle handle;
  handle.kind = Handle::Kind::kFile;
  handle.fd = std::move(fd);
  handle.rights_base = request.rights_base & rights::kFile;
  if (!request.writes()) {
    // The host's descriptor cannot do these.
    handle.rights_base &= ~(rights::kFdAllocate | rights::kFdFilestatSetSize);
  }
  handle.flags = request.fdflags;
  return handle;
}

// Whether the path that a handle was opened by has a link in it.
struct Opened {
  Handle handle;
  bool through_link = false;
};

// Without a link if it can be done.
OutcomeOr<UniqueFd> OpenNoting(int directory, const std::string& path,
                               int flags, mode_t mode, Links links,
                               bool* through_link) {
  OutcomeOr<UniqueFd> straight =
      OpenBeneath(directory, path, flags, mode, Links::kRefuse);
  if (straight.ok() || straight.failure().number() != Errno::kLoop ||
      links == Links::kRefuse) {
    return straight;
  }
  *through_link = true;
  return OpenBeneath(directory, path, flags, mode, Links::kFollow);
}

OutcomeOr<Opened> Open(int directory, const std::string& path,
                       const Request& request, Links links) {
  Opened made;
  int look = O_PATH;
  if (!request.follow) look |= O_NOFOLLOW;
  if (request.Has(oflags::kDirectory)) look |= O_DIRECTORY;
  OutcomeOr<UniqueFd> seen =
      OpenNoting(directory, path, look, 0, links, &made.through_link);
  if (seen.ok()) {
    const OutcomeOr<Filestat> status = FilestatOf(seen->get());
    if (!status.ok()) return status.failure();
    const Outcome may = MayOpen(request, status->filetype);
    if (!may.ok()) return may;
    if (status->filetype == Filetype::kDirectory) {
      made.handle = DirectoryHandle(request, std::move(*seen));
      return made;
    }
  } else if (seen.failure().number() != Errno::kNoEnt ||
             !request.Has(oflags::kCreat)) {
    return seen.failure();
  }

  made.through_link = false;
  OutcomeOr<UniqueFd> opened = OpenNoting(
      directory, path, OpenFlags(request),
      request.Has(oflags::kCreat) ? 0666 : 0, links, &made.through_link);
  if (!opened.ok()) return opened.failure();
  const OutcomeOr<Filestat> status = FilestatOf(opened->get());
  if (!status.ok()) return status.failure();
  if (status->filetype != Filetype::kRegularFile) return Errno::kNotSup;
  made.handle = FileHandle(request, std::move(*opened));
  return made;
}

// What the guest calls the file that it opened as `path`.
std::string PathOfFile(const Opened& opened, const Handle& directory,
                       const std::string& path) {
  // Spelled beneath a directory that does not move.
  if (directory.preopen_name.has_value() && !opened.through_link) {
    return JoinHandlePath(*directory.preopen_name, path);
  }
  return GuestPathBeneath(*directory.root, opened.handle.fd.get());
}

}  // namespace

// (descriptor, lookup flags, path, its length, open flags, rights, rights of
// what is opened through it, descriptor flags, where the descriptor goes)
Outcome PathOpen(HostCall& call) {
  Request request;
  request.follow = (call.U32(1) & lookupflags::kSymlinkFollow) != 0;
  request.oflags = call.U32(4);
  request.rights_base = call.U64(5);
  request.rights_inheriting = call.U64(6);
  request.fdflags = call.U32(7);
  const uint32_t fd_out = call.U32(8);

  if ((call.U32(1) & ~lookupflags::kSymlinkFollow) != 0 ||
      (request.oflags & ~oflags::kAll) != 0 ||
      (request.fdflags & ~fdflags::kAll) != 0 ||
      (request.Has(oflags::kDirectory) && request.Has(oflags::kCreat))) {
    return Errno::kInval;
  }
  uint64_t needed = rights::kPathOpen;
  if (request.Has(oflags::kCreat)) needed |= rights::kPathCreateFile;
  if (request.Has(oflags::kTrunc)) needed |= rights::kPathFilestatSetSize;
  const OutcomeOr<Handle*> directory = call.FindDirectory(call.U32(0), needed);
  if (!directory.ok()) return directory.failure();
  if (((request.rights_base | request.rights_inheriting) &
       ~(*directory)->rights_inheriting) != 0) {
    return Errno::kNotCapable;
  }
  const Outcome inside = call.InBounds(fd_out, 4);
  if (!inside.ok()) return inside;
  const OutcomeOr<std::string> path = call.ReadPath(call.U32(2), call.U32(3));
  if (!path.ok()) return path.failure();
  if (call.state().handles.full()) return Errno::kMfile;

  OutcomeOr<Opened> opened =
      Open((*directory)->fd.get(), *path, request, call.links());
  if (!opened.ok()) return opened.failure();
  Handle& handle = opened->handle;
  handle.root = (*directory)->root;
  if (handle.kind == Handle::Kind::kFile) {
    handle.guest_path = PathOfFile(*opened, **directory, *path);
  }
  const OutcomeOr<uint32_t> fd = call.state().handles.Insert(std::move(handle));
  if (!fd.ok()) return fd.failure();
  return call.WriteU32(fd_out, *fd);
}

}  // namespace wasi
}  // namespace callgate
