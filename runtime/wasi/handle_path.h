// What a guest would call what one of its handles is open on.
//
// A preopened directory is called what the guest was told. Of a file it is the
// path that it was opened by. A directory opened beneath a preopened one can be
// renamed, by its guest or by others, and reached through a symbolic link, so
// the kernel is asked where it is, each time (/proc/self/fd). It may be moved
// between that and whatever the answer is used for by somebody else: another
// Store with the same directory, or another process.

#ifndef CALLGATE_RUNTIME_WASI_HANDLE_PATH_H_
#define CALLGATE_RUNTIME_WASI_HANDLE_PATH_H_

#include <string>

#include "absl/strings/string_view.h"
#include "runtime/wasi/unique_fd.h"

namespace callgate {
namespace wasi {

// What a path of a guest is at most; a longer one is not known.
inline constexpr size_t kGuestPathBytesMax = 8192;

// A preopened directory. Every handle opened beneath it shares it, so that it
// is there when the guest has closed its own.
struct PreopenRoot {
  UniqueFd fd;
  std::string name;
};

// `path` of a directory that the guest calls `directory`, as it is spelled.
// Empty if that is empty or the result too long.
std::string JoinHandlePath(absl::string_view directory, absl::string_view path);

// The guest's path of what `fd` is open on, now. Empty if it is not beneath the
// root, or not anywhere, or if that cannot be found out.
std::string GuestPathBeneath(const PreopenRoot& root, int fd);

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_HANDLE_PATH_H_
