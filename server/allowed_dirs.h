// Under which directories of this machine guests may be given directories.
//
// Only the operator's list counts. The lookup itself, which no symbolic link
// leads out of, is WASI's when it opens the directory (GuestDirectory::inside);
// here is decided what it starts from.

#ifndef CALLGATE_SERVER_ALLOWED_DIRS_H_
#define CALLGATE_SERVER_ALLOWED_DIRS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate {

class AllowedDirs {
 public:
  // Absolute paths of directories that are there now. The error names the one
  // that is not, and the flag.
  static absl::StatusOr<AllowedDirs> Open(
      const std::vector<std::string>& directories);

  // Which of them `path` is to be looked up beneath. FailedPrecondition
  // DIR_NOT_ALLOWED with the fix.
  absl::StatusOr<std::string> Containing(absl::string_view path) const;

 private:
  // Without a slash at the end, "/" excepted; the longest first.
  std::vector<std::string> directories_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_ALLOWED_DIRS_H_
