// Judging a call is collecting the matches that hold now, and Conclude() turns
// them into one verdict and one record. A plan with nothing in it is quiet, and
// its calls never get that far.

#include "policy/policy_hook.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/argument.h"
#include "policy/import_name.h"
#include "runtime/check.h"

namespace callgate::policy {

PolicyHook::PolicyHook(std::vector<std::shared_ptr<const Policy>> policies,
                       StoreFacts facts, MonotonicClock clock,
                       DecisionSink& sink, Options options)
    : facts_(std::move(facts)),
      clock_(std::move(clock)),
      sink_(sink),
      options_(options),
      rules_(std::make_unique<RulesInForce>(std::move(policies),
                                            options.mode_cap)),
      anomaly_(AnomalyWatch::Make(*rules_, facts_, options.profiles)) {
  for (size_t p = 0; p < rules_->policies().size(); ++p) {
    const auto max = rules_->policy(p).budgets()[Budget::kHostCallsPerCall];
    if (!max) continue;
    host_call_limits_.push_back({*max, p, rules_->mode_of(p), false});
  }
  std::sort(host_call_limits_.begin(), host_call_limits_.end(),
            [](const HostCallLimit& a, const HostCallLimit& b) {
              return a.max < b.max;
            });
  BeginCallFromOutside();
}

PolicyHook::PolicyHook(std::vector<std::shared_ptr<const Policy>> policies,
                       StoreFacts facts, MonotonicClock clock,
                       DecisionSink& sink)
    : PolicyHook(std::move(policies), std::move(facts), std::move(clock), sink,
                 Options()) {}

PolicyHook::~PolicyHook() = default;

TransitionSet PolicyHook::OnLink(const FunctionIdentity& function) {
  if (function.binding == kNoIndex || function.type == nullptr) {
    // Ours is to know every host function by its binding; without one a call
    // is a fault, and is found there.
    return TransitionSet::HostCalls();
  }
  if (function.binding >= linked_.size()) linked_.resize(function.binding + 1);
  ImportPlan& plan = rules_->Link(function);
  linked_[function.binding].plan = &plan;
  if (!plan.judges.empty() && scratch_ == nullptr) {
    scratch_ = std::make_unique<expression::Scratch>();
  }
  if (plan.reads_paths && options_.handles != nullptr) {
    options_.handles->RefuseLinks();
  }
  return rules_->Transitions();
}

PolicyHook::Linked* PolicyHook::LinkedOf(const FunctionIdentity& function) {
  // kNoIndex is past every one.
  if (function.binding >= linked_.size()) return nullptr;
  Linked& linked = linked_[function.binding];
  return linked.plan == nullptr ? nullptr : &linked;
}

// --- Transitions -------------------------------------------------------------

Disposition PolicyHook::OnTransition(CallContext& call) {
  if (latched_ != nullptr) {
    ++refused_after_end_;
    return call.Refuse(latched_);
  }
  switch (call.transition()) {
    case Transition::kCallingWasm:
      if (call.depth() <= 1) BeginCallFromOutside();
      return call.Proceed();
    case Transition::kCallingHost: {
      if (decisions_++ % kDecisionSampleEvery != 0) return EnterHost(call);
      const absl::Time begin = clock_();
      const Disposition answer = EnterHost(call);
      sink_.OnDecisionDuration(clock_() - begin);
      return answer;
    }
    case Transition::kReturningFromHost:
      if (anomaly_ != nullptr) anomaly_->Returned(call);
      return call.Proceed();
    case Transition::kReturningFromWasm:
      return LeaveGuest(call);
  }
  return call.Proceed();
}

void PolicyHook::BeginCallFromOutside() {
  host_calls_ = 0;
  budgets_recorded_ = 0;
  audit_growth_recorded_ = 0;
  for (HostCallLimit& limit : host_call_limits_) limit.recorded = false;
  next_host_call_mark_ = host_call_limits_.empty()
                             ? std::numeric_limits<uint64_t>::max()
                             : host_call_limits_.front().max;
}

Disposition PolicyHook::EnterHost(CallContext& call) {
  Linked* linked = LinkedOf(call.function());
  if (linked == nullptr) {
    matches_.clear();
    texts_.clear();
    AddEngineFault(nullptr, "a host function was never linked");
    return ConcludeHostCall(call, nullptr, false);
  }
  ++host_calls_;
  ++calls_of_store_;
  if (anomaly_ != nullptr) {
    findings_.clear();
    anomaly_->Calling(call, &findings_);
  }
  if (linked->plan->quiet && findings_.empty() &&
      host_calls_ <= next_host_call_mark_) {
    ++linked->allowed;
    return call.Proceed();
  }
  return JudgeHostCall(call, *linked);
}

Disposition PolicyHook::JudgeHostCall(CallContext& call, Linked& linked) {
  ImportPlan& plan = *linked.plan;
  matches_.clear();
  texts_.clear();
  if (host_calls_ > next_host_call_mark_) AddHostCallBudgets();
  const bool over_budget = !matches_.empty();
  for (const KnownMatch& m : plan.matches) {
    matches_.push_back(
        MatchOf(*m.rule, m.policy, m.verdict, m.mode, m.message));
  }
  AddRateLimits(plan);
  if (!plan.fault.empty()) AddEngineFault(&plan, plan.fault);
  if (!plan.judges.empty()) AddConditions(call, plan);
  if (anomaly_ != nullptr) AddAnomalies(plan);
  const bool stopped =
      std::any_of(matches_.begin(), matches_.end(), [](const RuleMatch& m) {
        return m.mode == Mode::kEnforce && StopsCall(m.verdict);
      });
  // What does not happen needs no copies.
  if (!stopped) AddArguments(call, plan);
  if (anomaly_ != nullptr && anomaly_->teaches()) NoteAlertsOfOthers();
  if (matches_.empty()) {
    ++linked.allowed;
    return call.Proceed();
  }
  return ConcludeHostCall(call, &linked, over_budget);
}

void PolicyHook::AddAnomalies(const ImportPlan& plan) {
  for (const AnomalyWatch::Finding& finding : findings_) {
    const Rule& rule = *finding.rule;
    if (!finding.failure.empty()) {
      NoteFailure(rule, finding.policy, finding.failure);
    }
    texts_.push_back(finding.message);
    const Verdict verdict =
        rule.verdict == Verdict::kDeny && !plan.answers_errno ? Verdict::kTrap
                                                              : rule.verdict;
    matches_.push_back(
        MatchOf(rule, finding.policy, verdict, finding.mode, texts_.back()));
  }
}

// A Store in which anything else was found is nothing to learn from.
void PolicyHook::NoteAlertsOfOthers() {
  const auto all = std::count_if(
      matches_.begin(), matches_.end(),
      [](const RuleMatch& m) { return m.verdict >= Verdict::kAlert; });
  const auto own = std::count_if(findings_.begin(), findings_.end(),
                                 [](const AnomalyWatch::Finding& f) {
                                   return f.rule->verdict >= Verdict::kAlert;
                                 });
  if (all > own) anomaly_->NoteAlert();
}

std::vector<absl::Status> PolicyHook::FinishLearning() {
  if (anomaly_ == nullptr) return {};
  return anomaly_->Finish(options_.wall_clock());
}

void PolicyHook::AddConditions(CallContext& call, ImportPlan& plan) {
  CallMoment moment(call, facts_, calls_of_store_ - 1, options_.wall_clock,
                    options_.handles);
  for (PlannedJudge& judge : plan.judges) {
    AddJudged(plan, judge, moment);
  }
}

void PolicyHook::AddJudged(const ImportPlan& plan, PlannedJudge& judge,
                           CallMoment& moment) {
  const size_t p = judge.policy;
  const Policy& policy = rules_->policy(p);
  const auto denial = judge.judge.Begin(moment);
  if (!denial.ok()) {
    AddEngineFault(&plan, denial.status().message());
    return;
  }
  const bool is_denied = denial->has_value();
  if (is_denied) {
    const Rule& rule = policy.bad_argument();
    texts_.push_back((*denial)->reason);
    matches_.push_back(
        MatchOf(rule, p, plan.answers_errno ? Verdict::kDeny : Verdict::kTrap,
                rules_->mode_of(p), texts_.back()));
    if (plan.answers_errno) {
      matches_.back().guest_errno = (*denial)->guest_errno;
    }
  }
  // Whether it failed for more than an argument that is denied already.
  const auto failed = [&](const ImportJudge::Outcome& outcome) {
    return outcome.answer == ImportJudge::Answer::kFailed &&
           !(is_denied &&
             (outcome.error.error() == expression::ErrorCode::kAbsentFact ||
              outcome.error.error() == expression::ErrorCode::kBadFact));
  };
  for (const SpecialisedRule& special : judge.judge.import().restrictions) {
    const ImportJudge::Outcome outcome =
        judge.judge.Judge(special, moment, scratch_.get());
    if (outcome.answer == ImportJudge::Answer::kNo) continue;
    const Rule& rule = policy.rules()[special.rule];
    if (outcome.answer == ImportJudge::Answer::kFailed) {
      if (!failed(outcome)) continue;
      texts_.push_back(absl::StrCat(
          "the condition could not be evaluated, so it counts as true: ",
          expression::ErrorText(outcome.error.error())));
      NoteFailure(rule, p, special.when->Describe(outcome.error));
    } else if (!special.message.parts.empty()) {
      texts_.push_back(judge.judge.MessageOf(special, moment, scratch_.get()));
    } else {
      texts_.push_back(
          SentenceOf(rule, absl::StrCat(FormatImportName(plan.function->module,
                                                         plan.function->name),
                                        " is ", PastParticiple(rule.verdict))));
    }
    const Verdict verdict =
        rule.verdict == Verdict::kDeny && !plan.answers_errno ? Verdict::kTrap
                                                              : rule.verdict;
    matches_.push_back(
        MatchOf(rule, p, verdict, rules_->ModeOf(rule, p), texts_.back()));
  }
  if (!judge.no_allow) return;
  for (const SpecialisedRule& special : judge.judge.import().allows) {
    const ImportJudge::Outcome outcome =
        judge.judge.Judge(special, moment, scratch_.get());
    if (outcome.answer == ImportJudge::Answer::kYes) return;
    if (failed(outcome)) {
      NoteFailure(policy.rules()[special.rule], p,
                  special.when->Describe(outcome.error));
    }
  }
  const KnownMatch& m = *judge.no_allow;
  matches_.push_back(MatchOf(*m.rule, m.policy, m.verdict, m.mode, m.message));
}

void PolicyHook::AddArguments(CallContext& call, const ImportPlan& plan) {
  for (const ImportPlan::Argument& argument : plan.arguments) {
    const auto denial =
        CaptureArgument(argument.spec, *plan.function->type, call);
    if (!denial.ok()) {
      AddEngineFault(&plan, denial.status().message());
      return;
    }
    if (!denial->has_value()) continue;
    const KnownMatch& m = argument.match;
    texts_.push_back((*denial)->reason);
    matches_.push_back(
        MatchOf(*m.rule, m.policy, m.verdict, m.mode, texts_.back()));
    if (m.verdict == Verdict::kDeny) {
      matches_.back().guest_errno = (*denial)->guest_errno;
    }
  }
}

void PolicyHook::AddRateLimits(ImportPlan& plan) {
  if (plan.buckets.empty()) return;
  const absl::Time now = clock_();
  for (const ImportPlan::Bucket& b : plan.buckets) {
    if (rules_->bucket(b.bucket).Take(now)) continue;
    const KnownMatch& m = b.match;
    matches_.push_back(
        MatchOf(*m.rule, m.policy, m.verdict, m.mode, m.message));
  }
}

}  // namespace callgate::policy
