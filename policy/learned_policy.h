// The least that a module needs, from what a profile saw it do: a policy file
// that allows every import that was called and nothing else, with tests that
// say so.
//
// Imports are what a profile knows; of arguments it knows nothing, so the file
// is a beginning for a person to narrow.

#ifndef CALLGATE_POLICY_LEARNED_POLICY_H_
#define CALLGATE_POLICY_LEARNED_POLICY_H_

#include <string>

#include "absl/strings/string_view.h"
#include "policy/anomaly/profile.h"

namespace callgate::policy {

// YAML. `name` is a policy's name, `module_digest` is for the description.
std::string LearnedPolicyYaml(const anomaly::Profile& profile,
                              absl::string_view name,
                              absl::string_view module_digest);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_LEARNED_POLICY_H_
