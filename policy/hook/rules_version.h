// One set of rules for a Store, and what goes with it when it is replaced.

#ifndef CALLGATE_POLICY_HOOK_RULES_VERSION_H_
#define CALLGATE_POLICY_HOOK_RULES_VERSION_H_

#include <memory>
#include <vector>

#include "policy/expression/scratch.h"
#include "policy/hook/anomaly_watch.h"
#include "policy/hook/rules_in_force.h"
#include "runtime/call_ring.h"

namespace callgate::policy {

struct RulesVersion {
  std::unique_ptr<RulesInForce> rules;
  // Of `rules`, by binding; null where nothing was linked.
  std::vector<ImportPlan*> plans;
  // Made where a plan has a condition.
  std::unique_ptr<expression::Scratch> scratch;
  // Made where a rule could raise an alert.
  std::unique_ptr<CallRing> call_ring;
  // Of the rules about anomalies.
  AnomalyWatch::Leases leases;

  // Links the function, which has a binding.
  ImportPlan& Link(const FunctionIdentity& function) {
    if (function.binding >= plans.size()) plans.resize(function.binding + 1);
    ImportPlan& plan = rules->Link(function);
    plans[function.binding] = &plan;
    if (!plan.judges.empty() && scratch == nullptr) {
      scratch = std::make_unique<expression::Scratch>();
    }
    return plan;
  }

  // For RulesExchange.
  RulesVersion* next_replaced = nullptr;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_RULES_VERSION_H_
