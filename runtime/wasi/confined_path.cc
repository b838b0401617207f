#include "runtime/wasi/confined_path.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

// openat2 answers EAGAIN when a rename on the same file system happened while
// it was going through "..". Somebody may do that in a loop.
constexpr int kRaceAttempts = 64;

int OpenAt2(int dir, const char* path, int flags, mode_t mode, Links links) {
  open_how how{};
  how.flags = static_cast<uint32_t>(flags) | uint64_t{O_CLOEXEC};
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  if (links == Links::kRefuse) how.resolve |= RESOLVE_NO_SYMLINKS;
  return static_cast<int>(syscall(SYS_openat2, dir, path, &how, sizeof(how)));
}

}  // namespace

OutcomeOr<UniqueFd> OpenBeneath(int dir, const std::string& path, int flags,
                                mode_t mode, Links links) {
  // A NUL would end the path for the kernel, short of what was checked.
  if (path.find('\0') != std::string::npos) return Errno::kInval;
  for (int attempt = 0; attempt < kRaceAttempts; ++attempt) {
    UniqueFd fd(RetryOnSignal(
        [&] { return OpenAt2(dir, path.c_str(), flags, mode, links); }));
    if (fd.valid()) return fd;
    if (errno == EXDEV) return Errno::kNotCapable;
    if (errno != EAGAIN) return FromHostErrno(errno);
  }
  return Errno::kAgain;
}

OutcomeOr<ConfinedName> FindName(int dir, const std::string& path,
                                 Links links) {
  if (path.find('\0') != std::string::npos) return Errno::kInval;
  if (path.empty()) return Errno::kNoEnt;
  // The split below would make "/x" a name in `dir`.
  if (path.front() == '/') return Errno::kNotCapable;

  const size_t last = path.find_last_not_of('/');
  const size_t slash = path.find_last_of('/', last);
  const size_t start = slash == std::string::npos ? 0 : slash + 1;

  ConfinedName found;
  found.name = path.substr(start, last + 1 - start);
  found.trailing_slash = last + 1 < path.size();
  if (found.name == "." || found.name == "..") {
    found.dots =
        found.name == "." ? ConfinedName::Dots::kOne : ConfinedName::Dots::kTwo;
    OutcomeOr<UniqueFd> inside = OpenBeneath(dir, path, O_PATH, 0, links);
    if (!inside.ok()) return inside.failure();
    return found;
  }
  const std::string parent = start == 0 ? "." : path.substr(0, start);
  OutcomeOr<UniqueFd> opened =
      OpenBeneath(dir, parent, O_PATH | O_DIRECTORY, 0, links);
  if (!opened.ok()) return opened.failure();
  found.parent = std::move(*opened);
  if (found.trailing_slash) found.name += '/';
  return found;
}

}  // namespace wasi
}  // namespace callgate
