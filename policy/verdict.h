// The words of a judgement: what happens to a call, whether it is acted upon,
// and how much it matters. Each enum is in ascending order, and comparing its
// values is meaningful: the most severe verdict wins, the lowest mode wins.

#ifndef CALLGATE_POLICY_VERDICT_H_
#define CALLGATE_POLICY_VERDICT_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace callgate::policy {

enum class Verdict : uint8_t {
  kAllow = 1,
  kLog,
  kAlert,
  kThrottle,
  kDeny,
  kTrap,
  kKillStore,
  kQuarantineModule,
};

enum class Mode : uint8_t { kAudit = 1, kEnforce };

enum class Severity : uint8_t {
  kDebug = 1,
  kInfo,
  kNotice,
  kWarning,
  kError,
  kCritical,
};

// As the policy file spells them: "kill_store", "audit", "warning". Metric
// labels and events use the same words.
absl::string_view VerdictName(Verdict verdict);
absl::string_view ModeName(Mode mode);
absl::string_view SeverityName(Severity severity);

// Whether the Store is over after this verdict.
constexpr bool EndsStore(Verdict v) { return v >= Verdict::kKillStore; }
// Whether the host function does not run.
constexpr bool StopsCall(Verdict v) { return v >= Verdict::kDeny; }

// Whether somebody should look at what led to it.
constexpr bool IsAlert(Verdict v) {
  return v == Verdict::kAlert || v >= Verdict::kTrap;
}

// What is meant where a rule does not say.
Severity DefaultSeverity(Verdict verdict);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_VERDICT_H_
