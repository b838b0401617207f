// What all the policies that apply to one Store come to, worked out: their
// modes, the budgets that somebody must hold, and for each function that the
// Store links a plan, which holds every match that is known beforehand and
// whatever has to be asked at a call.
//
// The policy hook judges by one of these. What rate limits and temporal rules
// remember is in the Store's StoreStates and outlives this; what else judging
// keeps from one call to the next for the rules' own sake (throttles, what has
// been told) is here, and is replaced with the rules.
//
// Build: the constructor, then Link() for each function. A plan's address is
// the same for ever. One thread at a time, the Store's once the hook has it; it
// may be built and destroyed on another. Shares the policies.

#ifndef CALLGATE_POLICY_HOOK_RULES_IN_FORCE_H_
#define CALLGATE_POLICY_HOOK_RULES_IN_FORCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "absl/time/time.h"
#include "policy/argument.h"
#include "policy/budgets.h"
#include "policy/hook/import_judge.h"
#include "policy/hook/import_meter.h"
#include "policy/hook/inner_rules.h"
#include "policy/host_call_price.h"
#include "policy/policy.h"
#include "policy/state/rule_states.h"
#include "policy/verdict.h"
#include "runtime/call_hook.h"
#include "runtime/value.h"

namespace callgate::policy {

// A match whose verdict and sentence are known before any call.
struct KnownMatch {
  size_t policy = 0;  // into RulesInForce::policies()
  const Rule* rule = nullptr;
  Verdict verdict = Verdict::kAllow;
  Mode mode = Mode::kEnforce;
  std::string message;
};

// What one policy's conditions have to say of an import.
struct PlannedJudge {
  size_t policy = 0;
  ImportJudge judge;
  // No entry allows the import always: what to say if none does now.
  std::optional<KnownMatch> no_allow;
  // Null: no rate limit or temporal rule is about it.
  std::unique_ptr<ImportMeter> meter;
};

// What is to be done when a function is called.
struct ImportPlan {
  struct Argument {
    ArgSpec spec;
    KnownMatch match;  // its message comes from the call
  };

  // What one policy takes for a call, in fuel.
  struct Price {
    size_t policy;
    Mode mode;
    HostCallPrice price;
  };

  const FunctionIdentity* function = nullptr;
  // Taken whatever else is said of the call.
  std::vector<Price> prices;
  // Whose bytes are paid for; none if no price is about bytes.
  std::vector<ArgSpec> paid_arguments;
  // Nothing below has anything to say.
  bool quiet = false;
  // Some rule reads what a path leads to.
  bool reads_paths = false;
  // Whether deny can be answered, and with what; the errno goes first.
  bool answers_errno = false;
  std::vector<RawValue> answer;

  // Some judge has a meter; one whose states other Stores share.
  bool is_metered = false;
  bool shares_states = false;
  // Something is judged when the host function has returned.
  bool runs_after = false;

  std::vector<KnownMatch> matches;
  std::vector<PlannedJudge> judges;
  std::vector<Argument> arguments;
  // Why the plan could not be made; empty if it could.
  std::string fault;
};

// The sentence of a match where the rule's file says none: `what`.
std::string SentenceOf(const Rule& rule, absl::string_view what);

// "not allowed", "slowed down": what happens to an import's call.
absl::string_view PastParticiple(Verdict verdict);

class RulesInForce {
 public:
  // At least one policy. None is enforced above `mode_cap`. What rules remember
  // is in `states`, which is not kept.
  RulesInForce(std::vector<std::shared_ptr<const Policy>> policies,
               Mode mode_cap, StoreStates& states);
  RulesInForce(const RulesInForce&) = delete;
  RulesInForce& operator=(const RulesInForce&) = delete;

  const std::vector<std::shared_ptr<const Policy>>& policies() const {
    return policies_;
  }
  const Policy& policy(size_t p) const { return *policies_[p]; }
  // Under the cap.
  Mode mode_of(size_t policy) const { return modes_[policy]; }
  Mode ModeOf(const Rule& rule, size_t policy) const {
    return std::min(rule.mode, modes_[policy]);
  }
  // kEnforce if any policy is enforced.
  Mode mode() const { return mode_; }
  // Whether some verdict ends the Store.
  bool can_end_store() const { return can_end_store_; }
  // Whether some rule raises an alert: Policy::CanAlert.
  bool can_alert() const { return can_alert_; }
  const EffectiveBudgets& budgets() const { return budgets_; }

  // Works out the plan of `function`, which has a binding and a type and
  // outlives this.
  ImportPlan& Link(const FunctionIdentity& function);

  // Which transitions of its function a plan needs to see.
  TransitionSet TransitionsOf(const ImportPlan& plan) const;

  // Growths, and functions of the guest's own.
  InnerRules& inner() { return inner_; }
  const InnerRules& inner() const { return inner_; }

  // Goes on where `before`, which these rules replace, was: with the delays of
  // throttles that are in both and say the same. In the Store's thread;
  // allocates nothing. The rest is in the Store's StoreStates.
  void InheritState(const RulesInForce& before);

  // What a rule remembers.
  struct RuleState {
    bool failure_told = false;
    bool loss_told = false;
    // For throttles.
    absl::Duration delay;
    absl::Time last = absl::InfinitePast();
  };
  // There is one for every rule that a plan can ask.
  RuleState& StateOf(const Rule& rule) { return rule_states_[&rule]; }

 private:
  // What `rule` comes to on the plan's function.
  KnownMatch MatchOf(const ImportPlan& plan, const Rule& rule, size_t policy,
                     Verdict verdict, std::string message) const;
  void LinkOne(size_t policy, ImportPlan* plan);
  void AddPrices(ImportPlan* plan) const;

  const std::vector<std::shared_ptr<const Policy>> policies_;
  const EffectiveBudgets budgets_;
  std::vector<Mode> modes_;  // by policy
  Mode mode_ = Mode::kAudit;
  bool can_end_store_ = false;
  bool can_alert_ = false;
  InnerRules inner_;
  bool watches_order_ = false;

  std::vector<std::unique_ptr<ImportPlan>> plans_;
  // The states stay where they are.
  absl::node_hash_map<const Rule*, RuleState> rule_states_;
  // What a throttle says, in a number, and where its delay is; by the number.
  std::vector<std::pair<uint64_t, RuleState*>> throttle_keys_;
  // By policy, as Policy::StateShapes().
  std::vector<std::vector<std::shared_ptr<policy::RuleState>>> remembered_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_RULES_IN_FORCE_H_
