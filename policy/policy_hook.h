// The call hook that asks policies.
//
// One for each Store, made from the policies that PolicySet::Select gave. What
// the policies say of an import is worked out once, when it is linked; a call
// then looks its plan up by the binding's number. A call that is simply allowed
// costs an increment, a comparison with the host call budget and, in one of
// kDecisionSampleEvery, two clock readings: no map, no lock, no allocation.
//
//   * OnLink wants kCallingHost of every function, also of one that is allowed
//     unconditionally: that is where calls are counted and where a Store that
//     has been ended refuses to go on. It wants kReturningFromHost only if some
//     verdict could end the Store. Install the hook for all transitions.
//   * Several policies: each judges on its own, and the most severe verdict
//     counts. A tie is named by the smaller rule id, then policy name.
//   * deny answers in the host function's place where the function returns an
//     errno, else it is a trap. trap, kill_store and quarantine_module refuse
//     with a PolicyViolation. The last two latch: from then on every transition
//     of the Store refuses with that same object.
//   * Verdicts under audit are recorded and change nothing.
//
// Threads: the Store's, one at a time. Ownership: shares the policies; `clock`
// and `sink` must outlive it. It must outlive its installation in the Store.

#ifndef CALLGATE_POLICY_POLICY_HOOK_H_
#define CALLGATE_POLICY_POLICY_HOOK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/budgets.h"
#include "policy/decision.h"
#include "policy/policy.h"
#include "policy/policy_violation.h"
#include "policy/token_bucket.h"
#include "policy/verdict.h"
#include "runtime/call_hook.h"

namespace callgate::policy {

// Must not go backwards; otherwise any origin will do.
using MonotonicClock = std::function<absl::Time()>;

class PolicyHook final : public CallHook {
 public:
  struct Options {
    // No policy is enforced above this mode.
    Mode mode_cap = Mode::kEnforce;
  };

  // At least one policy.
  PolicyHook(std::vector<std::shared_ptr<const Policy>> policies,
             StoreFacts facts, MonotonicClock clock, DecisionSink& sink,
             Options options);
  PolicyHook(std::vector<std::shared_ptr<const Policy>> policies,
             StoreFacts facts, MonotonicClock clock, DecisionSink& sink);
  ~PolicyHook() override;
  PolicyHook(const PolicyHook&) = delete;
  PolicyHook& operator=(const PolicyHook&) = delete;

  TransitionSet OnLink(const FunctionIdentity& function) override;
  Disposition OnTransition(CallContext& call) override;
  bool OnGrowth(const GrowthEvent& event) override;

  const StoreFacts& facts() const { return facts_; }
  // The budgets that somebody must hold; see budgets.h.
  const EffectiveBudgets& budgets() const { return budgets_; }
  // kEnforce if any policy is enforced.
  Mode mode() const { return mode_; }

  // The verdict that ended the Store, or null while it is usable.
  const std::shared_ptr<const PolicyViolation>& latched() const {
    return latched_;
  }

  // Whose limits the next call from outside runs under, so that its end can be
  // put down to the right budget. To be told before each call where they are
  // not the policy's per-call budgets.
  struct Arming {
    enum class Fuel : uint8_t { kPerCallBudget, kPerStoreBudget, kOther };
    Fuel fuel = Fuel::kPerCallBudget;
    // False: the caller's own deadline is earlier than wall_per_call.
    bool wall_is_budget = true;
  };
  void ArmCall(const Arming& arming) { arming_ = arming; }

  // What a call from outside has used, told after it. Records the budgets that
  // audit policies would have ended it for.
  struct Usage {
    uint64_t fuel = 0;
    uint64_t fuel_of_store = 0;  // all calls so far, this one included
    uint64_t host_bytes = 0;
    absl::Duration wall;
  };
  void ReportUsage(const Usage& usage);

  // Counts since the last drain. Between calls only.
  struct ImportCount {
    // As given to OnLink; lives as long as the Store.
    const FunctionIdentity* function = nullptr;
    // Calls that were simply allowed.
    uint64_t allowed = 0;
    // All others, by what happened to them.
    uint64_t allowed_with_record = 0;
    uint64_t stopped = 0;
  };
  struct Counts {
    // Functions with at least one call.
    std::vector<ImportCount> imports;
    // Transitions refused because the Store had been ended before.
    uint64_t refused_after_end = 0;
    uint64_t engine_faults = 0;
  };
  Counts DrainCounts();

 private:
  struct Plan;
  struct Pending;

  const std::vector<std::shared_ptr<const Policy>> policies_;
  const StoreFacts facts_;
  const MonotonicClock clock_;
  DecisionSink& sink_;
  const Options options_;
  EffectiveBudgets budgets_;
  Mode mode_ = Mode::kAudit;
  std::shared_ptr<const PolicyViolation> latched_;
  Arming arming_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_POLICY_HOOK_H_
