// The versions half of the hook: how the rules of a Store that lives are
// replaced.

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "policy/hook/policy_hook.h"

namespace callgate::policy {
namespace {

bool Same(TransitionSet a, TransitionSet b) {
  for (const Transition t :
       {Transition::kCallingHost, Transition::kReturningFromHost}) {
    if (a.Contains(t) != b.Contains(t)) return false;
  }
  return true;
}

}  // namespace

std::unique_ptr<RulesVersion> PolicyHook::MakeVersion(
    std::vector<std::shared_ptr<const Policy>> policies) const {
  auto version = std::make_unique<RulesVersion>();
  version->rules = std::make_unique<RulesInForce>(std::move(policies),
                                                  options_.mode_cap, *states_);
  if (selector_ != nullptr) version->rules->inner().SelectFunctions(selector_);
  if (version->rules->can_alert()) {
    version->call_ring = std::make_unique<CallRing>();
  }
  version->leases =
      AnomalyWatch::TakeLeases(*version->rules, facts_, options_.profiles);
  return version;
}

std::vector<Problem> PolicyHook::Replace(
    std::vector<std::shared_ptr<const Policy>> policies) {
  std::vector<const FunctionIdentity*> functions;
  {
    const std::lock_guard<std::mutex> lock(functions_mu_);
    functions = functions_;
  }
  std::vector<LinkedImport> imports;
  for (const FunctionIdentity* function : functions) {
    imports.push_back(
        {function->module, function->name, function->type, function->spec});
  }
  std::vector<Problem> problems;
  for (const auto& policy : policies) {
    LinkFindings findings = policy->CheckAgainst(imports);
    problems.insert(problems.end(), findings.problems.begin(),
                    findings.problems.end());
  }
  std::unique_ptr<RulesVersion> version = MakeVersion(std::move(policies));
  if (describer_ != nullptr) {
    std::vector<Problem> unfit =
        version->rules->inner().CheckFunctions(describer_);
    problems.insert(problems.end(), std::make_move_iterator(unfit.begin()),
                    std::make_move_iterator(unfit.end()));
  }
  for (const FunctionIdentity* function : functions) version->Link(*function);
  exchange_.Offer(std::move(version));
  // What this one replaces is still in use; what others replaced is not.
  exchange_.Collect();
  return problems;
}

VersionStack::Retire PolicyHook::Retirement() {
  return [this](std::unique_ptr<RulesVersion> old) {
    exchange_.Retire(std::move(old));
  };
}

void PolicyHook::TakeOver() {
  if (exchange_.offered()) Adopt(0);
}

void PolicyHook::Adopt(uint32_t depth) {
  std::unique_ptr<RulesVersion> next = exchange_.Take();
  if (next == nullptr) return;
  ++replacements_;
  // In the name of those that held them back.
  TellHeldEvents();
  RulesVersion& version = *next;
  RulesInForce& before = *rules_;
  version.rules->InheritState(before);
  reinstall_due_ =
      reinstall_due_ || !version.rules->inner().ProbesAsMuchAs(before.inner());
  for (Linked& linked : linked_) {
    if (linked.function == nullptr) continue;
    const uint32_t binding = linked.function->binding;
    const TransitionSet wanted = before.TransitionsOf(*linked.plan);
    // One that was linked while the version was made is not in it.
    linked.SetPlan(binding < version.plans.size() &&
                           version.plans[binding] != nullptr
                       ? version.plans[binding]
                       : &version.Link(*linked.function));
    relink_due_ = relink_due_ ||
                  !Same(wanted, version.rules->TransitionsOf(*linked.plan));
    if (linked.plan->reads_paths && options_.handles != nullptr) {
      options_.handles->RefuseLinks(*linked.function);
    }
  }
  if (scratch_ == nullptr) scratch_ = std::move(version.scratch);
  if (call_ring_ == nullptr && version.call_ring != nullptr) {
    call_ring_ = std::move(version.call_ring);
    reinstall_due_ = true;
  }
  rules_ = version.rules.get();
  anomaly_ = AnomalyWatch::Make(
      *rules_, facts_,
      {options_.profiles, calls_of_store_ > 0, options_.keep_answers},
      std::move(version.leases), std::move(anomaly_));
  SetOut();
  // Last: another thread may destroy the old ones from here on.
  versions_.Adopt(std::move(next), depth, Retirement());
}

void PolicyHook::SetOut() {
  // By policy, of which there are others now.
  audit_price_.assign(rules_->policies().size(), 0);
  audit_price_of_store_.assign(rules_->policies().size(), 0);
  host_call_limits_.clear();
  for (size_t p = 0; p < rules_->policies().size(); ++p) {
    const auto max = rules_->policy(p).budgets()[Budget::kHostCallsPerCall];
    if (!max) continue;
    host_call_limits_.push_back({*max, p, rules_->mode_of(p), false});
  }
  std::sort(host_call_limits_.begin(), host_call_limits_.end(),
            [](const HostCallLimit& a, const HostCallLimit& b) {
              return a.max < b.max;
            });
  next_host_call_mark_ = host_call_limits_.empty()
                             ? std::numeric_limits<uint64_t>::max()
                             : host_call_limits_.front().max;
}

}  // namespace callgate::policy
