// What the policies of one Store say of what happens inside the guest: rules
// about growths, and about functions of the guest's own.
//
// Which functions rules are about is settled once the module is known
// (SelectFunctions), by whoever knows its names and exports. The probes that
// the Store then has to load are probes(). A rule that none of the module's
// functions fits is pending: it has nothing to look at until another module
// comes. What a function's rules are is compiled when it is first entered.
//
// Part of RulesInForce, and replaced with it. The Store's thread.

#ifndef CALLGATE_POLICY_HOOK_INNER_RULES_H_
#define CALLGATE_POLICY_HOOK_INNER_RULES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "policy/file/problem.h"
#include "policy/hook/event_judge.h"
#include "policy/policy.h"
#include "runtime/call_hook.h"
#include "runtime/function_filter.h"
#include "runtime/probe.h"

namespace callgate::policy {

class InnerRules {
 public:
  // The policies outlive it.
  explicit InnerRules(absl::Span<const std::shared_ptr<const Policy>> policies);
  InnerRules(const InnerRules&) = delete;
  InnerRules& operator=(const InnerRules&) = delete;

  // What one policy has to say.
  struct Planned {
    size_t policy = 0;  // into the policies
    EventJudge judge;
  };
  struct Plan {
    std::vector<Planned> judges;
    // Why it could not be made; empty if it could.
    std::string fault;

    bool quiet() const { return judges.empty() && fault.empty(); }
  };
  Plan& growth(GrowthEvent::Kind kind) {
    return kind == GrowthEvent::Kind::kMemory ? memory_growth_ : table_growth_;
  }

  // Whether there is a rule about functions.
  bool watches_functions() const { return !function_rules_.empty(); }

  // The functions of the module that a filter means, by their indexes.
  using Selector =
      std::function<std::vector<uint32_t>(const FunctionFilter& filter)>;
  // What is known of one of them; `probe` means nothing.
  using Describer = std::function<ProbedFunction(uint32_t func_index)>;
  // Until it is called rules fit functions by their indexes and by the one name
  // that an entry has, and none is known to be pending.
  void SelectFunctions(const Selector& selector);
  struct Pending {
    const Policy* policy = nullptr;
    const Rule* rule = nullptr;
    std::string pattern;
  };
  const std::vector<Pending>& pending() const { return pending_; }

  // What does not fit the functions that rules are about: a rule that reads a
  // parameter which a function lacks, or which is of another type than the rule
  // takes it for. After SelectFunctions. Looks once at functions that are the
  // same to a rule, and at kChecksMax at most; the rest are found when they are
  // entered.
  std::vector<Problem> CheckFunctions(const Describer& describe) const;
  static constexpr size_t kChecksMax = 4'096;

  // What the Store must probe, added to `probes`. ResourceExhausted where that
  // is more than a filter holds.
  absl::Status AddProbes(FunctionFilter* probes) const;

  // Whether both add the same probes.
  bool ProbesAsMuchAs(const InnerRules& other) const;

  // Probes have got other numbers.
  void ForgetPlans() { plans_.clear(); }

  // The plan of a function that is entered.
  Plan& PlanOf(const ProbedFunction& function);

 private:
  struct FunctionRule {
    size_t policy = 0;
    uint32_t rule = 0;
    const policy::FunctionRule* about = nullptr;
    std::vector<uint32_t> functions;  // increasing
  };

  std::vector<absl::string_view> Patterns() const;
  Plan MakeGrowth(InnerEvent event) const;
  std::unique_ptr<Plan> MakePlan(const ProbedFunction& function) const;

  const std::vector<std::shared_ptr<const Policy>> policies_;
  Plan memory_growth_;
  Plan table_growth_;
  std::vector<FunctionRule> function_rules_;
  // Theirs, each once, in order; of the policies.
  std::vector<absl::string_view> patterns_;
  bool selected_ = false;
  std::vector<Pending> pending_;
  // By probe.
  std::vector<std::unique_ptr<Plan>> plans_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_INNER_RULES_H_
