// Judging a call is collecting the matches that hold now, and Conclude() turns
// them into one verdict and one record. A plan with nothing in it is quiet, and
// its calls never get that far.

#include "policy/hook/policy_hook.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/argument.h"
#include "policy/import_name.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

// Whether a condition failed for more than an argument that is denied already.
bool MatterOf(const ImportJudge::Outcome& outcome, bool is_denied) {
  return outcome.answer == ImportJudge::Answer::kFailed &&
         !(is_denied &&
           (outcome.error.error() == expression::ErrorCode::kAbsentFact ||
            outcome.error.error() == expression::ErrorCode::kBadFact));
}

}  // namespace

PolicyHook::PolicyHook(std::vector<std::shared_ptr<const Policy>> policies,
                       StoreFacts facts, MonotonicClock clock,
                       DecisionSink& sink, Options options)
    : facts_(std::move(facts)),
      clock_(std::move(clock)),
      sink_(sink),
      options_(options),
      own_states_(options.states == nullptr ? std::make_unique<RuleStates>()
                                            : nullptr),
      states_((options.states == nullptr ? *own_states_ : *options.states)
                  .ForStore(facts_.tenant, facts_.module_digest)),
      versions_(MakeVersion(std::move(policies))),
      rules_(versions_.current().rules.get()),
      call_ring_(std::move(versions_.current().call_ring)),
      anomaly_(AnomalyWatch::Make(
          *rules_, facts_, {options.profiles, false, options.keep_answers},
          std::move(versions_.current().leases), nullptr)),
      calls_of_store_(options.calls_before) {
  SetOut();
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
  Linked& linked = linked_[function.binding];
  // It may have been asked for again.
  if (linked.function == &function) return rules_->TransitionsOf(*linked.plan);
  linked.function = &function;
  linked.SetPlan(&versions_.current().Link(function));
  {
    const std::lock_guard<std::mutex> lock(functions_mu_);
    functions_.push_back(&function);
  }
  if (scratch_ == nullptr) scratch_ = std::move(versions_.current().scratch);
  if (linked.plan->reads_paths && options_.handles != nullptr) {
    options_.handles->RefuseLinks(function);
  }
  return rules_->TransitionsOf(*linked.plan);
}

PolicyHook::Linked* PolicyHook::LinkedOf(const FunctionIdentity& function) {
  // kNoIndex is past every one.
  if (function.binding >= linked_.size()) return nullptr;
  Linked& linked = linked_[function.binding];
  return linked.plan == nullptr ? nullptr : &linked;
}

// --- Transitions -------------------------------------------------------------

// What most calls are. Says nothing that the long way would not say.
inline bool PolicyHook::IsSimplyAllowed(const CallContext& call) {
  if (call.transition() != Transition::kCallingHost || latched_ != nullptr ||
      anomaly_ != nullptr || exchange_.offered() || versions_.has_older()) {
    return false;
  }
  const uint32_t binding = call.function().binding;
  if (binding >= linked_.size()) return false;
  Linked& linked = linked_[binding];
  if (!linked.is_simple || host_calls_ >= next_host_call_mark_ ||
      decisions_ % kDecisionSampleEvery == 0) {
    return false;
  }
  ++decisions_;
  ++host_calls_;
  ++calls_of_store_;
  ++linked.allowed;
  return true;
}

Disposition PolicyHook::OnTransition(CallContext& call) {
  if (IsSimplyAllowed(call)) return call.Proceed();
  if (latched_ != nullptr) {
    ++refused_after_end_;
    return call.Refuse(latched_);
  }
  switch (call.transition()) {
    case Transition::kCallingWasm:
      guest_depth_ = call.depth();
      if (call.depth() <= 1) BeginCallFromOutside();
      if (relink_due_) {
        relink_due_ = false;
        call.Relink();
      }
      return call.Proceed();
    case Transition::kCallingHost: {
      if (exchange_.offered()) {
        Adopt(call.depth());
        if (std::exchange(relink_due_, false)) call.Relink();
      } else if (versions_.has_older()) {
        versions_.Begin(call.depth(), Retirement());
        // Since a growth has adopted rules.
        if (std::exchange(relink_due_, false)) call.Relink();
      }
      if (decisions_++ % kDecisionSampleEvery != 0) return EnterHost(call);
      // The first of a Store stands for itself alone.
      sample_weight_ = decisions_ == 1 ? 1 : kDecisionSampleEvery;
      const absl::Time begin = clock_();
      const Disposition answer = EnterHost(call);
      sample_weight_ = 0;
      sink_.OnDecisionDuration(clock_() - begin);
      return answer;
    }
    case Transition::kReturningFromHost:
      if (anomaly_ != nullptr) anomaly_->Returned(call);
      // The most are of no interest.
      if (live_count_ == 0 || live_[live_count_ - 1]->depth != call.depth()) {
        return call.Proceed();
      }
      return LeaveHost(call);
    case Transition::kReturningFromWasm: {
      // Back to the guest that called the host that called this one.
      guest_depth_ = std::max(call.depth(), 2u) - 2;
      const Disposition answer = LeaveGuest(call);
      if (call.depth() <= 1) TellHeldEvents();
      return answer;
    }
  }
  return call.Proceed();
}

void PolicyHook::BeginCallFromOutside() {
  live_count_ = 0;
  host_calls_ = 0;
  budgets_recorded_ = 0;
  audit_growth_recorded_ = 0;
  TellHeldEvents();
  events_ = 0;
  for (uint64_t& fuel : audit_price_) fuel = 0;
  for (HostCallLimit& limit : host_call_limits_) limit.recorded = false;
  next_host_call_mark_ = host_call_limits_.empty()
                             ? std::numeric_limits<uint64_t>::max()
                             : host_call_limits_.front().max;
  if (owed_delay_ > absl::ZeroDuration()) next_host_call_mark_ = 0;
}

Disposition PolicyHook::EnterHost(CallContext& call) {
  Linked* linked = LinkedOf(call.function());
  if (linked == nullptr) {
    matches_.clear();
    texts_.clear();
    AddEngineFault(EngineFault::kFunctionNotLinked, nullptr,
                   "a host function was never linked");
    return ConcludeHostCall(call, nullptr, false);
  }
  ++host_calls_;
  ++calls_of_store_;
  if (!linked->plan->prices.empty()) {
    const std::optional<Disposition> unpaid = Charge(call, *linked);
    if (unpaid.has_value()) return *unpaid;
  }
  if (anomaly_ != nullptr) {
    findings_.clear();
    CallMoment moment(call, facts_, calls_of_store_ - 1, options_.wall_clock,
                      options_.handles);
    anomaly_->Calling(moment, &findings_);
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
  if (options_.keep_answers) {
    answers_.clear();
    state_texts_.clear();
  }
  if (host_calls_ > next_host_call_mark_) AddHostCallBudgets();
  const bool over_budget = !matches_.empty();
  for (const KnownMatch& m : plan.matches) {
    matches_.push_back(
        MatchOf(*m.rule, m.policy, m.verdict, m.mode, m.message));
  }
  if (!plan.fault.empty()) {
    AddEngineFault(EngineFault::kImportNotJudged, &plan, plan.fault);
  }
  if (std::exchange(fails_next_, false)) {
    AddEngineFault(EngineFault::kImportNotJudged, &plan, "the test says so");
  }
  CallMoment moment(call, facts_, calls_of_store_ - 1, options_.wall_clock,
                    options_.handles);
  for (PlannedJudge& judge : plan.judges) AddJudged(plan, judge, moment);
  if (anomaly_ != nullptr) AddAnomalies(plan);
  // What does not happen needs no copies.
  if (!plan.arguments.empty() && !IsStopped()) AddArguments(call, plan);
  uint64_t event = 0;
  if (plan.is_metered) {
    event = states_->NextEvent();
    AddMetered(plan, moment, event);
  }
  if (plan.runs_after && !IsStopped()) KeepFacts(call, plan, event);
  if (anomaly_ != nullptr && anomaly_->teaches()) NoteAlertsOfOthers();
  if (matches_.empty()) {
    ++linked.allowed;
    return ProceedAfter(call, absl::ZeroDuration());
  }
  if (options_.keep_answers) DescribeFacts(call, plan, moment);
  return ConcludeHostCall(call, &linked, over_budget);
}

void PolicyHook::AddAnomalies(const ImportPlan& plan) {
  if (options_.keep_answers) KeepAnswersOfAnomalies();
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

Disposition PolicyHook::LeaveHost(CallContext& call) {
  LiveCall& live = *live_[live_count_ - 1];
  if (live.depth != call.depth() || live.function != &call.function()) {
    return call.Proceed();
  }
  --live_count_;
  // It ends under the rules that it began with.
  RulesInForce* const current = std::exchange(rules_, live.rules);
  const Disposition answer = JudgeEnd(call, live, *live.plan);
  rules_ = current;
  return answer;
}

Disposition PolicyHook::JudgeEnd(CallContext& call, const LiveCall& live,
                                 ImportPlan& plan) {
  matches_.clear();
  texts_.clear();
  CallMoment moment(call, facts_, live.calls_before, options_.wall_clock,
                    options_.handles);
  for (size_t j = 0; j < plan.judges.size(); ++j) {
    PlannedJudge& judge = plan.judges[j];
    judge.judge.Resume(live.kept[j], moment);
    AddRestrictions(plan, judge, moment, /*after=*/true, /*is_denied=*/false);
  }
  if (plan.is_metered) AddMeteredAfter(plan, moment, live.number);
  if (matches_.empty()) return call.Proceed();
  if (options_.keep_answers) DescribeFacts(call, plan, moment);
  DecisionRecord record = RecordOf(call);
  record.after = true;
  Judgement judgement = Conclude(record);
  if (judgement.verdict > Verdict::kDeny) {
    return call.Refuse(std::move(judgement.violation));
  }
  if (judgement.delay > owed_delay_) {
    owed_delay_ = judgement.delay;
    // So that the next call comes by here, however quiet its plan is.
    next_host_call_mark_ = 0;
  }
  return call.Proceed();
}

void PolicyHook::KeepFacts(CallContext& call, ImportPlan& plan,
                           uint64_t event) {
  if (live_count_ == live_.size()) {
    live_.push_back(std::make_unique<LiveCall>());
  }
  LiveCall& live = *live_[live_count_++];
  live.function = &call.function();
  live.rules = rules_;
  live.plan = &plan;
  live.depth = call.depth();
  live.number = event;
  live.calls_before = calls_of_store_ - 1;
  live.kept.resize(std::max(live.kept.size(), plan.judges.size()));
  for (size_t j = 0; j < plan.judges.size(); ++j) {
    plan.judges[j].judge.Keep(&live.kept[j]);
  }
}

Disposition PolicyHook::ProceedAfter(CallContext& call, absl::Duration delay) {
  delay = std::max(delay, owed_delay_);
  if (delay <= absl::ZeroDuration()) return call.Proceed();
  owed_delay_ = absl::ZeroDuration();
  return call.ProceedAfter(delay);
}

void PolicyHook::AddJudged(const ImportPlan& plan, PlannedJudge& judge,
                           CallMoment& moment) {
  const size_t p = judge.policy;
  const Policy& policy = rules_->policy(p);
  const auto denial = judge.judge.Begin(moment);
  if (!denial.ok()) {
    AddEngineFault(EngineFault::kArgumentNotCopied, &plan,
                   denial.status().message());
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
  AddRestrictions(plan, judge, moment, /*after=*/false, is_denied);
  if (!judge.no_allow) return;
  for (const SpecialisedRule& special : judge.judge.import().allows) {
    const ImportJudge::Outcome outcome =
        Ask(judge, special, policy.rules()[special.rule], moment);
    if (options_.keep_answers) {
      KeepAnswer(p, policy.rules()[special.rule], outcome);
    }
    if (outcome.answer == ImportJudge::Answer::kYes) return;
    if (MatterOf(outcome, is_denied)) {
      NoteFailure(policy.rules()[special.rule], p,
                  special.when->Describe(outcome.error));
    }
  }
  const KnownMatch& m = *judge.no_allow;
  matches_.push_back(MatchOf(*m.rule, m.policy, m.verdict, m.mode, m.message));
}

ImportJudge::Outcome PolicyHook::Ask(PlannedJudge& judge,
                                     const SpecialisedRule& special,
                                     const Rule& rule, CallMoment& moment) {
  if (sample_weight_ == 0) {
    return judge.judge.Judge(special, moment, scratch_.get());
  }
  const absl::Time begin = clock_();
  const ImportJudge::Outcome outcome =
      judge.judge.Judge(special, moment, scratch_.get());
  sink_.OnRuleDuration(rules_->policy(judge.policy).name(), rule.id,
                       clock_() - begin, sample_weight_);
  return outcome;
}

void PolicyHook::AddRestrictions(const ImportPlan& plan, PlannedJudge& judge,
                                 CallMoment& moment, bool after,
                                 bool is_denied) {
  const size_t p = judge.policy;
  const Policy& policy = rules_->policy(p);
  for (const SpecialisedRule& special : judge.judge.import().restrictions) {
    const Rule& rule = policy.rules()[special.rule];
    if (rule.runs_after != after) continue;
    const ImportJudge::Outcome outcome = Ask(judge, special, rule, moment);
    if (options_.keep_answers) KeepAnswer(p, rule, outcome);
    if (outcome.answer == ImportJudge::Answer::kNo) continue;
    if (outcome.answer == ImportJudge::Answer::kFailed) {
      if (!MatterOf(outcome, is_denied)) continue;
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
}

void PolicyHook::AddArguments(CallContext& call, const ImportPlan& plan) {
  for (const ImportPlan::Argument& argument : plan.arguments) {
    const auto denial =
        CaptureArgument(argument.spec, *plan.function->type, call);
    if (!denial.ok()) {
      AddEngineFault(EngineFault::kArgumentNotCopied, &plan,
                     denial.status().message());
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

}  // namespace callgate::policy
