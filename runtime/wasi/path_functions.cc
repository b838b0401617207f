// Functions on paths other than opening.

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "runtime/wasi/confined_path.h"
#include "runtime/wasi/file_status.h"
#include "runtime/wasi/functions.h"
#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

// A name that a function shall make, remove or move: the arguments at `fd`,
// `path` and the one after, found with the right it takes.
OutcomeOr<ConfinedName> NameArgument(HostCall& call, size_t fd, size_t path,
                                     uint64_t right) {
  const OutcomeOr<Handle*> directory = call.FindDirectory(call.U32(fd), right);
  if (!directory.ok()) return directory.failure();
  const OutcomeOr<std::string> text =
      call.ReadPath(call.U32(path), call.U32(path + 1));
  if (!text.ok()) return text.failure();
  return FindName((*directory)->fd.get(), *text, call.links());
}

// What a path names, opened with O_PATH: the arguments at 0 and `path`.
OutcomeOr<UniqueFd> TargetArgument(HostCall& call, size_t path, bool follow,
                                   uint64_t right) {
  const OutcomeOr<Handle*> directory = call.FindDirectory(call.U32(0), right);
  if (!directory.ok()) return directory.failure();
  const OutcomeOr<std::string> text =
      call.ReadPath(call.U32(path), call.U32(path + 1));
  if (!text.ok()) return text.failure();
  return OpenBeneath((*directory)->fd.get(), *text,
                     follow ? O_PATH : O_PATH | O_NOFOLLOW, 0, call.links());
}

Outcome FromSystemCall(int result) {
  return result == 0 ? Errno::kSuccess : FromHostErrno(errno);
}

OutcomeOr<bool> Follows(uint32_t lookup_flags) {
  if ((lookup_flags & ~lookupflags::kSymlinkFollow) != 0) return Errno::kInval;
  return (lookup_flags & lookupflags::kSymlinkFollow) != 0;
}

}  // namespace

// (descriptor, path, its length)
Outcome PathCreateDirectory(HostCall& call) {
  const OutcomeOr<ConfinedName> name =
      NameArgument(call, 0, 1, rights::kPathCreateDirectory);
  if (!name.ok()) return name.failure();
  if (name->dots != ConfinedName::Dots::kNone) return Errno::kExist;
  return FromSystemCall(mkdirat(name->parent.get(), name->name.c_str(), 0777));
}

// (descriptor, lookup flags, path, its length, where the record goes)
Outcome PathFilestatGet(HostCall& call) {
  const OutcomeOr<bool> follow = Follows(call.U32(1));
  if (!follow.ok()) return follow.failure();
  const OutcomeOr<UniqueFd> target =
      TargetArgument(call, 2, *follow, rights::kPathFilestatGet);
  if (!target.ok()) return target.failure();
  const OutcomeOr<Filestat> status = FilestatOf(target->get());
  if (!status.ok()) return status.failure();
  return call.Write(call.U32(4), status->Encode());
}

// (descriptor, lookup flags, path, its length, access time, modification time,
// flags)
Outcome PathFilestatSetTimes(HostCall& call) {
  const OutcomeOr<bool> follow = Follows(call.U32(1));
  if (!follow.ok()) return follow.failure();
  const OutcomeOr<std::array<timespec, 2>> times =
      TimesToSet(call.U64(4), call.U64(5), call.U32(6));
  if (!times.ok()) return times.failure();
  const OutcomeOr<UniqueFd> target =
      TargetArgument(call, 2, *follow, rights::kPathFilestatSetTimes);
  if (!target.ok()) return target.failure();
  return FromSystemCall(
      utimensat(target->get(), "", times->data(), AT_EMPTY_PATH));
}

// (old descriptor, lookup flags, old path, its length, new descriptor, new
// path, its length)
Outcome PathLink(HostCall& call) {
  const OutcomeOr<bool> follow = Follows(call.U32(1));
  if (!follow.ok()) return follow.failure();
  // A link to what a link names would need a lookup that linkat does itself,
  // unconfined.
  if (*follow) return Errno::kInval;
  OutcomeOr<ConfinedName> from =
      NameArgument(call, 0, 2, rights::kPathLinkSource);
  if (!from.ok()) return from.failure();
  const OutcomeOr<ConfinedName> to =
      NameArgument(call, 4, 5, rights::kPathLinkTarget);
  if (!to.ok()) return to.failure();
  if (from->dots != ConfinedName::Dots::kNone) return Errno::kPerm;
  if (to->dots != ConfinedName::Dots::kNone) return Errno::kExist;
  if (from->trailing_slash) {
    // linkat would follow a symbolic link before the slash. Only a directory
    // may have one, and directories have no second name.
    from->name.pop_back();
    struct stat status {};
    if (fstatat(from->parent.get(), from->name.c_str(), &status,
                AT_SYMLINK_NOFOLLOW) != 0) {
      return FromHostErrno(errno);
    }
    return S_ISDIR(status.st_mode) ? Errno::kPerm : Errno::kNotDir;
  }
  return FromSystemCall(linkat(from->parent.get(), from->name.c_str(),
                               to->parent.get(), to->name.c_str(), 0));
}

// (descriptor, path, its length, buffer, its length, where the used length
// goes)
Outcome PathReadlink(HostCall& call) {
  const uint32_t buffer = call.U32(3);
  const uint32_t buffer_bytes = call.U32(4);
  Outcome inside = call.InBounds(buffer, buffer_bytes);
  if (!inside.ok()) return inside;
  inside = call.InBounds(call.U32(5), 4);
  if (!inside.ok()) return inside;
  const OutcomeOr<UniqueFd> target =
      TargetArgument(call, 1, /*follow=*/false, rights::kPathReadlink);
  if (!target.ok()) return target.failure();
  std::array<char, kPathBytesMax + 1> text{};
  const ssize_t length =
      readlinkat(target->get(), "", text.data(), text.size());
  // ENOENT is how Linux says that a descriptor is not of a link.
  if (length < 0) return errno == ENOENT ? Errno::kInval : FromHostErrno(errno);
  const auto used = static_cast<uint32_t>(
      std::min<uint64_t>(static_cast<uint64_t>(length), buffer_bytes));
  // SAFETY: uint8_t may alias char; `used` bytes of `text` are set.
  const Outcome written = call.Write(
      buffer,
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), used));
  if (!written.ok()) return written;
  return call.WriteU32(call.U32(5), used);
}

// (descriptor, path, its length)
Outcome PathRemoveDirectory(HostCall& call) {
  const OutcomeOr<ConfinedName> name =
      NameArgument(call, 0, 1, rights::kPathRemoveDirectory);
  if (!name.ok()) return name.failure();
  switch (name->dots) {
    case ConfinedName::Dots::kOne:
      return Errno::kInval;
    case ConfinedName::Dots::kTwo:
      return Errno::kNotEmpty;
    case ConfinedName::Dots::kNone:
      break;
  }
  return FromSystemCall(
      unlinkat(name->parent.get(), name->name.c_str(), AT_REMOVEDIR));
}

// (old descriptor, old path, its length, new descriptor, new path, its length)
Outcome PathRename(HostCall& call) {
  const OutcomeOr<ConfinedName> from =
      NameArgument(call, 0, 1, rights::kPathRenameSource);
  if (!from.ok()) return from.failure();
  const OutcomeOr<ConfinedName> to =
      NameArgument(call, 3, 4, rights::kPathRenameTarget);
  if (!to.ok()) return to.failure();
  if (from->dots != ConfinedName::Dots::kNone ||
      to->dots != ConfinedName::Dots::kNone) {
    return Errno::kBusy;
  }
  return FromSystemCall(renameat(from->parent.get(), from->name.c_str(),
                                 to->parent.get(), to->name.c_str()));
}

// (what the link says, its length, descriptor, path, its length)
Outcome PathSymlink(HostCall& call) {
  const OutcomeOr<std::string> content =
      call.ReadPath(call.U32(0), call.U32(1));
  if (!content.ok()) return content.failure();
  if (content->find('\0') != std::string::npos) return Errno::kInval;
  const OutcomeOr<ConfinedName> name =
      NameArgument(call, 2, 3, rights::kPathSymlink);
  if (!name.ok()) return name.failure();
  // Guests could not follow it; other programs of the host would, from their
  // own root.
  if (!content->empty() && content->front() == '/') return Errno::kNotCapable;
  if (name->dots != ConfinedName::Dots::kNone) return Errno::kExist;
  return FromSystemCall(
      symlinkat(content->c_str(), name->parent.get(), name->name.c_str()));
}

// (descriptor, path, its length)
Outcome PathUnlinkFile(HostCall& call) {
  const OutcomeOr<ConfinedName> name =
      NameArgument(call, 0, 1, rights::kPathUnlinkFile);
  if (!name.ok()) return name.failure();
  if (name->dots != ConfinedName::Dots::kNone) return Errno::kIsDir;
  return FromSystemCall(unlinkat(name->parent.get(), name->name.c_str(), 0));
}

}  // namespace wasi
}  // namespace callgate
