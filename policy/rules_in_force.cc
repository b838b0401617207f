#include "policy/rules_in_force.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/import_name.h"
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
                           Mode mode_cap)
    : policies_(std::move(policies)),
      budgets_(ComputeEffectiveBudgets(policies_, mode_cap)) {
  CALLGATE_CHECK(!policies_.empty(), "a Store has a policy to be judged by");
  for (const auto& policy : policies_) {
    modes_.push_back(std::min(policy->mode(), mode_cap));
    mode_ = std::max(mode_, modes_.back());
    can_end_store_ = can_end_store_ || policy->CanEndStore();
    watches_order_ = watches_order_ || !policy->anomaly().empty();
    for (const AnomalyRule& rule : policy->anomaly()) {
      rule_states_[&rule.rule];
      for (const AnomalyRule::Threshold& threshold : rule.thresholds) {
        rule_states_[&threshold.rule];
      }
      if (rule.frequency) rule_states_[&rule.frequency->rule];
    }
    first_bucket_.push_back(buckets_.size());
    for (const RateLimit& limit : policy->rate_limits()) {
      buckets_.emplace_back(limit.refill_per_second, limit.burst);
    }
  }
}

TransitionSet RulesInForce::Transitions() const {
  // A Store that has been ended must not go on, not even after a host function
  // that was in flight. What is usual depends on how calls end.
  return can_end_store_ || watches_order_
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
  for (size_t p = 0; p < policies_.size(); ++p) LinkOne(p, &plan);
  plan.reads_paths = std::any_of(
      plan.judges.begin(), plan.judges.end(),
      [](const PlannedJudge& judge) { return judge.judge.reads_paths(); });
  plan.quiet = plan.matches.empty() && plan.buckets.empty() &&
               plan.arguments.empty() && plan.judges.empty() &&
               plan.fault.empty();
  return plan;
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

  std::vector<Problem> problems;
  SpecialisedImport special = Specialise(policy, linked, &problems);
  if (!problems.empty()) {
    plan->fault =
        absl::StrCat("policy ", policy.name(),
                     " cannot judge this import: ", problems.front().message);
  }
  bool stopped = false;
  std::vector<SpecialisedRule> conditional;
  for (SpecialisedRule& restriction : special.restrictions) {
    const Rule& rule = policy.rules()[restriction.rule];
    rule_states_[&rule];
    if (!restriction.is_static()) {
      conditional.push_back(std::move(restriction));
      continue;
    }
    plan->matches.push_back(MatchOf(
        *plan, rule, p, rule.verdict,
        SentenceOf(rule,
                   absl::StrCat(name, " is ", PastParticiple(rule.verdict)))));
    stopped =
        stopped || (StopsCall(rule.verdict) && ModeOf(rule, p) == modes_[p]);
  }
  special.restrictions = std::move(conditional);
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
  if (no_allow || !special.restrictions.empty()) {
    plan->judges.push_back(
        {p, ImportJudge(std::move(special), *function.type), no_allow});
  }

  if (import == nullptr) return;
  for (const uint32_t l : import->rate_limits) {
    const Rule& rule = policy.rate_limits()[l].rule;
    rule_states_[&rule];
    plan->buckets.push_back(
        {first_bucket_[p] + l,
         MatchOf(*plan, rule, p, rule.verdict,
                 SentenceOf(rule, absl::StrCat("too many calls of ", name)))});
  }
  for (const ArgumentRule& arg : import->args) {
    std::string why;
    std::optional<ArgSpec> spec =
        ResolveArgument(arg, *function.type, function.spec, &why);
    if (!spec) {
      plan->fault = absl::StrCat("argument ", arg.name, " of ", name,
                                 " cannot be judged: ", why);
      continue;
    }
    plan->arguments.push_back(
        {*std::move(spec),
         MatchOf(*plan, policy.rules()[arg.rule], p, Verdict::kDeny, "")});
  }
}

}  // namespace callgate::policy
