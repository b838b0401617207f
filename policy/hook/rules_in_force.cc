#include "policy/hook/rules_in_force.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "policy/import_name.h"
#include "policy/specialisation_cache.h"
#include "policy/specialised_import.h"
#include "runtime/check.h"

namespace callgate::policy {

std::string SentenceOf(const Rule& rule, absl::string_view what) {
  return rule.message.empty() ? std::string(what) : rule.message;
}

absl::string_view PastParticiple(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAllow:
      return "allowed";
    case Verdict::kLog:
    case Verdict::kAlert:
      return "watched";
    case Verdict::kThrottle:
      return "slowed down";
    default:
      return "not allowed";
  }
}

RulesInForce::RulesInForce(std::vector<std::shared_ptr<const Policy>> policies,
                           Mode mode_cap, StoreStates& states)
    : policies_(std::move(policies)),
      budgets_(ComputeEffectiveBudgets(policies_, mode_cap)),
      inner_(policies_) {
  CALLGATE_CHECK(!policies_.empty(), "a Store has a policy to be judged by");
  for (const auto& policy : policies_) {
    modes_.push_back(std::min(policy->mode(), mode_cap));
    mode_ = std::max(mode_, modes_.back());
    can_end_store_ = can_end_store_ || policy->CanEndStore();
    can_alert_ = can_alert_ || policy->CanAlert();
    watches_order_ = watches_order_ || !policy->anomaly().empty();
    remembered_.push_back(states.Bind(policy->StateShapes()));
    const auto add_throttle = [&](const Rule& rule) {
      if (rule.verdict != Verdict::kThrottle) return;
      throttle_keys_.emplace_back(
          absl::HashOf(policy->name(), rule.id, rule.when.source,
                       rule.throttle.base_delay, rule.throttle.max_delay,
                       rule.throttle.cool_down, rule.throttle.factor),
          &rule_states_[&rule]);
    };
    for (const Rule& rule : policy->rules()) add_throttle(rule);
    for (const AnomalyRule& rule : policy->anomaly()) {
      for (const AnomalyRule::Threshold& threshold : rule.thresholds) {
        add_throttle(threshold.rule);
      }
      if (rule.frequency) add_throttle(rule.frequency->rule);
    }
    for (const RateLimit& limit : policy->rate_limits()) {
      add_throttle(limit.rule);
    }
    for (const TemporalRule& temporal : policy->temporal()) {
      add_throttle(temporal.rule);
    }
  }
  std::sort(throttle_keys_.begin(), throttle_keys_.end());
}

void RulesInForce::InheritState(const RulesInForce& before) {
  // Both in order, so that one pass finds what is in both.
  auto their = before.throttle_keys_.begin();
  for (const auto& [key, state] : throttle_keys_) {
    while (their != before.throttle_keys_.end() && their->first < key) ++their;
    if (their == before.throttle_keys_.end()) return;
    if (their->first != key) continue;
    state->delay = their->second->delay;
    state->last = their->second->last;
  }
}

TransitionSet RulesInForce::TransitionsOf(const ImportPlan& plan) const {
  // A Store that has been ended must not go on, not even after a host function
  // that was in flight. What is usual depends on how calls end.
  return can_end_store_ || watches_order_ || plan.runs_after
             ? TransitionSet::HostCalls()
             : TransitionSet::None().With(Transition::kCallingHost);
}

ImportPlan& RulesInForce::Link(const FunctionIdentity& function) {
  plans_.push_back(std::make_unique<ImportPlan>());
  ImportPlan& plan = *plans_.back();
  plan.function = &function;
  plan.answers_errno = AnswersErrno(
      {function.module, function.name, function.type, function.spec});
  if (plan.answers_errno) {
    for (const ValType type : function.type->results) {
      plan.answer.push_back(Value::Zero(type).raw());
    }
  }
  // Meters look into their judges, so these stay where they are.
  plan.judges.reserve(policies_.size());
  for (size_t p = 0; p < policies_.size(); ++p) LinkOne(p, &plan);
  AddPrices(&plan);
  for (const PlannedJudge& planned : plan.judges) {
    plan.runs_after = plan.runs_after || planned.judge.import().runs_after;
    if (planned.meter == nullptr) continue;
    plan.is_metered = true;
    plan.shares_states = plan.shares_states || planned.meter->shares();
  }
  plan.reads_paths = std::any_of(
      plan.judges.begin(), plan.judges.end(),
      [](const PlannedJudge& judge) { return judge.judge.reads_paths(); });
  plan.quiet = plan.matches.empty() && plan.arguments.empty() &&
               plan.judges.empty() && plan.fault.empty();
  return plan;
}

void RulesInForce::AddPrices(ImportPlan* plan) const {
  const FunctionIdentity& function = *plan->function;
  std::vector<ArgumentRule> described;
  bool of_bytes = false;
  for (size_t p = 0; p < policies_.size(); ++p) {
    const ImportPolicy* import =
        policies_[p]->FindImport(function.module, function.name);
    if (import != nullptr) {
      described.insert(described.end(), import->args.begin(),
                       import->args.end());
    }
    for (const HostCallPrices& prices :
         policies_[p]->budgets().host_call_prices) {
      const auto named = std::find_if(
          prices.imports.begin(), prices.imports.end(), [&](const auto& entry) {
            return entry.first.module == function.module &&
                   entry.first.name == function.name;
          });
      const HostCallPrice* price = named != prices.imports.end()
                                       ? &named->second
                                   : prices.others ? &*prices.others
                                                   : nullptr;
      if (price == nullptr || (price->base == 0 && price->per_byte == 0)) {
        continue;
      }
      plan->prices.push_back({p, modes_[p], *price});
      of_bytes = of_bytes || price->per_byte > 0;
    }
  }
  if (of_bytes) {
    plan->paid_arguments =
        SizedArguments(*function.type, function.spec, described);
  }
}

KnownMatch RulesInForce::MatchOf(const ImportPlan& plan, const Rule& rule,
                                 size_t policy, Verdict verdict,
                                 std::string message) const {
  const bool no_errno = verdict == Verdict::kDeny && !plan.answers_errno;
  return {policy, &rule, no_errno ? Verdict::kTrap : verdict,
          ModeOf(rule, policy), std::move(message)};
}

void RulesInForce::LinkOne(size_t p, ImportPlan* plan) {
  const Policy& policy = *policies_[p];
  const FunctionIdentity& function = *plan->function;
  const LinkedImport linked = {function.module, function.name, function.type,
                               function.spec};
  const std::string name = FormatImportName(function.module, function.name);
  const ImportPolicy* import = policy.FindImport(linked.module, linked.name);
  if (import == nullptr || !import->listed) {
    const Rule& rule = policy.unlisted_import();
    if (rule.verdict != Verdict::kAllow) {
      plan->matches.push_back(
          MatchOf(*plan, rule, p, rule.verdict,
                  absl::StrCat(name, " is not listed by the policy")));
    }
  }

  const std::shared_ptr<const Specialisation> made =
      policy.SpecialisedFor(linked);
  const SpecialisedImport& special = made->import;
  if (!made->problems.empty()) {
    plan->fault = absl::StrCat(
        "policy ", policy.name(),
        " cannot judge this import: ", made->problems.front().message);
  }
  bool stopped = false;
  for (const SpecialisedRule& restriction : special.always) {
    const Rule& rule = policy.rules()[restriction.rule];
    rule_states_[&rule];
    plan->matches.push_back(MatchOf(
        *plan, rule, p, rule.verdict,
        SentenceOf(rule,
                   absl::StrCat(name, " is ", PastParticiple(rule.verdict)))));
    stopped =
        stopped || (StopsCall(rule.verdict) && ModeOf(rule, p) == modes_[p]);
  }
  for (const SpecialisedRule& restriction : special.restrictions) {
    rule_states_[&policy.rules()[restriction.rule]];
  }
  for (const SpecialisedRule& allow : special.allows) {
    rule_states_[&policy.rules()[allow.rule]];
  }
  std::optional<KnownMatch> no_allow;
  if (special.listed && !special.allowed && !stopped) {
    // Else the restriction says it better.
    no_allow = MatchOf(
        *plan, policy.no_allow(), p, policy.no_allow().verdict,
        absl::StrCat(name, special.allows.empty()
                               ? " is listed, but no entry allows it"
                               : " is listed, but no entry allows this call"));
    if (special.allows.empty()) {
      plan->matches.push_back(*std::move(no_allow));
      no_allow.reset();
    }
  }
  for (const SpecialisedLimit& limit : special.limits) {
    rule_states_[&policy.rate_limits()[limit.limit].rule];
  }
  for (const SpecialisedTemporal& temporal : special.temporal) {
    rule_states_[&policy.temporal()[temporal.rule].rule];
  }
  const bool is_metered = !special.limits.empty() || !special.temporal.empty();
  if (no_allow || !special.restrictions.empty() || is_metered) {
    plan->judges.push_back(
        {p, ImportJudge(made, *function.type), no_allow, nullptr});
    PlannedJudge& planned = plan->judges.back();
    if (is_metered) {
      planned.meter = std::make_unique<ImportMeter>(
          p, policy, planned.judge.import(), remembered_[p]);
    }
  }

  if (import == nullptr) return;
  for (const ArgumentRule& arg : import->args) {
    std::string why;
    std::optional<ArgSpec> spec =
        ResolveArgument(arg, *function.type, function.spec, &why);
    if (!spec) {
      plan->fault = absl::StrCat("argument ", arg.name, " of ", name,
                                 " cannot be judged: ", why);
      continue;
    }
    // The others have no bounds that a call could pass.
    if (!HasLength(spec->kind)) continue;
    plan->arguments.push_back(
        {*std::move(spec),
         MatchOf(*plan, policy.rules()[arg.rule], p, Verdict::kDeny, "")});
  }
}

}  // namespace callgate::policy
