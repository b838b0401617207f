// What a policy file says of folding events.

#ifndef CALLGATE_POLICY_SUPPRESSION_SPEC_H_
#define CALLGATE_POLICY_SUPPRESSION_SPEC_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace callgate::policy {

// Facts that make two events the same.
enum class SuppressionKey : uint8_t {
  kRule,
  kVerdict,
  kSeverity,
  kBudget,
  kTenant,
  kStore,
  kModuleDigest,
  kModuleName,
  kCallImport,
  kCallSite,
};
inline constexpr int kSuppressionKeyCount = 10;
// "module.digest".
absl::string_view SuppressionKeyName(SuppressionKey key);
std::optional<SuppressionKey> SuppressionKeyFromName(absl::string_view name);

struct SuppressionSpec {
  uint64_t burst = 1;
  absl::Duration period;
  std::vector<SuppressionKey> group_by;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_SUPPRESSION_SPEC_H_
