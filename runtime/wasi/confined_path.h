// Paths that cannot leave the directory they start from.
//
// The kernel does the confining (openat2 with RESOLVE_BENEATH and
// RESOLVE_NO_MAGICLINKS), on every lookup, so that neither "..", nor an
// absolute path, nor a symbolic link, nor somebody who renames directories
// meanwhile leads outside. No decision rests on comparing strings.
//
// Operations on a name rather than on what it names (unlink, rename, mkdir, …)
// open the directory that holds the name this way, and then use the single last
// component with the *at() calls that never follow a link there.

#ifndef CALLGATE_RUNTIME_WASI_CONFINED_PATH_H_
#define CALLGATE_RUNTIME_WASI_CONFINED_PATH_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "runtime/wasi/outcome.h"
#include "runtime/wasi/unique_fd.h"

namespace callgate {
namespace wasi {

// The longest path a guest may name, in bytes.
inline constexpr uint32_t kPathBytesMax = 4095;

// Whether symbolic links on the way, and at the end where a lookup would follow
// one, are followed or fail with kLoop.
enum class Links : uint8_t { kFollow, kRefuse };

// openat2() of `path` beneath `dir`. O_CLOEXEC is added to `flags`. A path that
// leads outside is kNotCapable. kAgain when others kept renaming directories
// on the way.
OutcomeOr<UniqueFd> OpenBeneath(int dir, const std::string& path, int flags,
                                mode_t mode = 0, Links links = Links::kFollow);

// A name in a directory, for the *at() calls.
struct ConfinedName {
  UniqueFd parent;
  // One component, with a "/" at its end where the path had any: the kernel
  // then insists on a directory.
  std::string name;
  bool trailing_slash = false;
  // Set when the last component is "." or "..", which no operation on names
  // may use. The path itself has been found to exist and to be inside.
  enum class Dots : uint8_t { kNone, kOne, kTwo } dots = Dots::kNone;
};
OutcomeOr<ConfinedName> FindName(int dir, const std::string& path,
                                 Links links = Links::kFollow);

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_CONFINED_PATH_H_
