// Policies that ship with callgate, for others to include.

#ifndef CALLGATE_POLICY_BUILTIN_BUILTIN_POLICIES_H_
#define CALLGATE_POLICY_BUILTIN_BUILTIN_POLICIES_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/file/policy_file.h"

namespace callgate::policy {

struct BuiltinPolicy {
  absl::string_view name;  // "wasi-preview1-base"
  absl::string_view yaml;
};

// Live for ever. Their names cannot be used by other policies.
absl::Span<const BuiltinPolicy> BuiltinPolicies();

// Null if there is none of that name. Lives for ever.
const LoadedPolicyFile* FindBuiltinPolicy(absl::string_view name);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_BUILTIN_BUILTIN_POLICIES_H_
