// The files of --policy-dir, read and no more.
//
// Not recursive. Names that begin with a dot are nobody's policies, so a
// mounted ConfigMap, which is links to links, reads as one would wish. Any
// thread; waits for the disk.

#ifndef CALLGATE_SERVER_POLICIES_POLICY_DIRECTORY_H_
#define CALLGATE_SERVER_POLICIES_POLICY_DIRECTORY_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::policies {

inline constexpr size_t kPolicyFilesMax = 1'000;
inline constexpr size_t kPolicyFilesBytesMax = 64 << 20;

// Whether a file of this name in the directory is a policy's.
bool IsPolicyFileName(absl::string_view name);

struct PolicyFileText {
  std::string name;  // within the directory
  // Why the text could not be had, or OK.
  absl::Status status;
  std::string text;
};

// The regular files *.yaml, *.yml, *.textproto and *.txtpb, in order of name. A
// file that cannot be read, or is larger than a policy may be, is in the list
// with its status. ResourceExhausted for more files or bytes than the bounds
// above; otherwise what the system said of the directory, with the fix.
absl::StatusOr<std::vector<PolicyFileText>> ReadPolicyDirectory(
    const std::string& directory);

}  // namespace callgate::policies

#endif  // CALLGATE_SERVER_POLICIES_POLICY_DIRECTORY_H_
