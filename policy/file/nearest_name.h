// "Did you mean …?"

#ifndef CALLGATE_POLICY_FILE_NEAREST_NAME_H_
#define CALLGATE_POLICY_FILE_NEAREST_NAME_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace callgate::policy {

// The one of `allowed` that `found` was probably meant to be, or nothing.
absl::string_view NearestName(absl::string_view found,
                              const std::vector<std::string>& allowed);

// `; did you mean "x"? Allowed here: a, b, x`. A suggestion only if there is
// one.
std::string SuggestName(absl::string_view found,
                        const std::vector<std::string>& allowed);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_FILE_NEAREST_NAME_H_
