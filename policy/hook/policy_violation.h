// The error that a guest's call ends with when a policy ends it: Trap::cause()
// of a Store whose hook is a PolicyHook.
//
//   if (auto* v = dynamic_cast<const PolicyViolation*>(trap.cause().get())) …

#ifndef CALLGATE_POLICY_HOOK_POLICY_VIOLATION_H_
#define CALLGATE_POLICY_HOOK_POLICY_VIOLATION_H_

#include <string>
#include <utility>

#include "policy/verdict.h"
#include "runtime/trap.h"

namespace callgate::policy {

class PolicyViolation final : public ErrorObject {
 public:
  struct Facts {
    // kTrap, kKillStore or kQuarantineModule; kDeny became kTrap on its way.
    Verdict verdict = Verdict::kTrap;
    std::string policy;
    std::string policy_version;
    std::string rule;
    // The import that was called. Untrusted bytes; empty when the verdict is
    // not about a host call.
    std::string import_module;
    std::string import_name;
    // The budget that was passed, "host_calls_per_call"; else empty.
    std::string budget;
    // As in DecisionRecord.
    std::string decision_id;
    // What went wrong. Escaped.
    std::string reason;
  };

  explicit PolicyViolation(Facts facts) : facts_(std::move(facts)) {}

  const Facts& facts() const { return facts_; }
  Verdict verdict() const { return facts_.verdict; }

  // `policy "web", rule import:net.send: net.send is denied (kill_store)`. One
  // line, escaped.
  std::string message() const override;

 private:
  const Facts facts_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_POLICY_VIOLATION_H_
