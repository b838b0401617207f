#include "policy/hook/policy_violation.h"

#include "absl/strings/str_cat.h"

namespace callgate::policy {

std::string PolicyViolation::message() const {
  return absl::StrCat("policy ", facts_.policy, ", rule ", facts_.rule, ": ",
                      facts_.reason, " (", VerdictName(facts_.verdict), ")");
}

}  // namespace callgate::policy
