// A Plan holds what every policy has to say of one import, worked out at link
// time: matches that hold for each call, buckets to ask, arguments to capture.
// Judging a call is collecting the matches that hold now, and Conclude() turns
// them into one verdict and one record. A plan with nothing in it is quiet, and
// its calls never get that far.

#include "policy/policy_hook.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/argument.h"
#include "policy/specialised_import.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

// The usual sentence of a rule about an import.
std::string Sentence(const Rule& rule, absl::string_view what) {
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

}  // namespace

struct PolicyHook::Plan {
  // A match whose verdict and sentence are known beforehand.
  struct Static {
    size_t policy;
    const Rule* rule;
    Verdict verdict;
    Mode mode;
    std::string message;
  };
  struct Bucket {
    size_t bucket;
    Static match;
  };
  struct Argument {
    ArgSpec spec;
    Static match;  // its message comes from the call
  };

  const FunctionIdentity* function = nullptr;
  // Nothing below has anything to say.
  bool quiet = false;
  // Whether deny can be answered, and with what; the errno goes first.
  bool answers_errno = false;
  std::vector<RawValue> answer;

  std::vector<PlanJudge> judges;

  std::vector<Static> matches;
  std::vector<Bucket> buckets;
  std::vector<Argument> arguments;
  // Why the plan could not be made; empty if it could.
  std::string fault;

  uint64_t allowed = 0;
  uint64_t allowed_with_record = 0;
  uint64_t stopped = 0;
};

// What has conditions, of one policy.
struct PolicyHook::PlanJudge {
  size_t policy;
  ImportJudge judge;
  // No entry allows the import always: what to say if none does now.
  std::optional<Plan::Static> no_allow;
};

PolicyHook::PolicyHook(std::vector<std::shared_ptr<const Policy>> policies,
                       StoreFacts facts, MonotonicClock clock,
                       DecisionSink& sink, Options options)
    : policies_(std::move(policies)),
      facts_(std::move(facts)),
      clock_(std::move(clock)),
      sink_(sink),
      options_(options),
      budgets_(ComputeEffectiveBudgets(policies_, options.mode_cap)) {
  CALLGATE_CHECK(!policies_.empty(), "a hook has a policy to judge by");
  for (size_t p = 0; p < policies_.size(); ++p) {
    const Policy& policy = *policies_[p];
    const Mode mode = std::min(policy.mode(), options_.mode_cap);
    modes_.push_back(mode);
    mode_ = std::max(mode_, mode);
    can_end_store_ = can_end_store_ || policy.CanEndStore();
    first_bucket_.push_back(buckets_.size());
    for (const RateLimit& limit : policy.rate_limits()) {
      buckets_.emplace_back(limit.refill_per_second, limit.burst);
    }
    if (const auto max = policy.budgets()[Budget::kHostCallsPerCall]) {
      host_call_limits_.push_back({*max, p, mode, false});
    }
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

Mode PolicyHook::ModeOf(const Rule& rule, size_t policy) const {
  return std::min(rule.mode, modes_[policy]);
}

RuleMatch PolicyHook::MatchOf(const Rule& rule, size_t policy, Verdict verdict,
                              Mode mode, absl::string_view message) {
  RuleMatch match;
  match.policy = policies_[policy]->name();
  match.policy_version = policies_[policy]->version();
  match.rule = rule.id;
  match.verdict = verdict;
  match.mode = mode;
  match.severity = rule.severity;
  match.guest_errno = verdict == Verdict::kDeny ? rule.guest_errno : 0;
  if (verdict == Verdict::kThrottle) match.delay = DelayOf(rule);
  match.tags = rule.tags;
  match.message = message;
  match.min_severity = policies_[policy]->min_severity();
  return match;
}

// --- Linking -----------------------------------------------------------------

TransitionSet PolicyHook::OnLink(const FunctionIdentity& function) {
  if (function.binding == kNoIndex || function.type == nullptr) {
    // Ours is to know every host function by its binding; without one a call
    // is a fault, and is found there.
    return TransitionSet::HostCalls();
  }
  if (function.binding >= plans_.size()) plans_.resize(function.binding + 1);
  auto plan = std::make_unique<Plan>();
  plan->function = &function;
  const LinkedImport linked = {function.module, function.name, function.type,
                               function.spec};
  plan->answers_errno = AnswersErrno(linked);
  if (plan->answers_errno) {
    for (const ValType type : function.type->results) {
      plan->answer.push_back(Value::Zero(type).raw());
    }
  }
  const std::string name = FormatImportName(function.module, function.name);

  // What `rule` comes to on this function.
  const auto match = [&](const Rule& rule, size_t p, Verdict verdict,
                         std::string message) {
    const bool no_errno = verdict == Verdict::kDeny && !plan->answers_errno;
    return Plan::Static{p, &rule, no_errno ? Verdict::kTrap : verdict,
                        ModeOf(rule, p), std::move(message)};
  };
  for (size_t p = 0; p < policies_.size(); ++p) {
    const Policy& policy = *policies_[p];
    const ImportPolicy* import =
        policy.FindImport(function.module, function.name);
    if (import == nullptr || !import->listed) {
      const Rule& rule = policy.unlisted_import();
      if (rule.verdict != Verdict::kAllow) {
        plan->matches.push_back(
            match(rule, p, rule.verdict,
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
      if (rule.verdict == Verdict::kThrottle) rule_states_[&rule];
      if (!restriction.is_static()) {
        conditional.push_back(std::move(restriction));
        continue;
      }
      plan->matches.push_back(match(
          rule, p, rule.verdict,
          Sentence(rule,
                   absl::StrCat(name, " is ", PastParticiple(rule.verdict)))));
      stopped =
          stopped || (StopsCall(rule.verdict) && ModeOf(rule, p) == modes_[p]);
    }
    special.restrictions = std::move(conditional);
    std::optional<Plan::Static> no_allow;
    if (special.listed && !special.allowed && !stopped) {
      // Else the restriction says it better.
      no_allow =
          match(policy.no_allow(), p, policy.no_allow().verdict,
                absl::StrCat(
                    name, special.allows.empty()
                              ? " is listed, but no entry allows it"
                              : " is listed, but no entry allows this call"));
      if (special.allows.empty()) {
        plan->matches.push_back(*std::move(no_allow));
        no_allow.reset();
      }
    }
    if (no_allow || !special.restrictions.empty()) {
      for (const SpecialisedRule& r : special.restrictions) {
        rule_states_[&policy.rules()[r.rule]];
      }
      for (const SpecialisedRule& r : special.allows) {
        rule_states_[&policy.rules()[r.rule]];
      }
      if (scratch_ == nullptr) {
        scratch_ = std::make_unique<expression::Scratch>();
      }
      plan->judges.push_back({p,
                              ImportJudge(std::move(special), *function.type),
                              std::move(no_allow)});
      if (options_.handles != nullptr &&
          plan->judges.back().judge.reads_paths()) {
        options_.handles->RefuseLinks();
      }
    }
    if (import == nullptr) continue;
    for (const uint32_t l : import->rate_limits) {
      const Rule& rule = policy.rate_limits()[l].rule;
      if (rule.verdict == Verdict::kThrottle) rule_states_[&rule];
      plan->buckets.push_back(
          {first_bucket_[p] + l,
           match(rule, p, rule.verdict,
                 Sentence(rule, absl::StrCat("too many calls of ", name)))});
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
           match(policy.rules()[arg.rule], p, Verdict::kDeny, "")});
    }
  }
  plan->quiet = plan->matches.empty() && plan->buckets.empty() &&
                plan->arguments.empty() && plan->judges.empty() &&
                plan->fault.empty();
  plans_[function.binding] = std::move(plan);
  return can_end_store_ ? TransitionSet::HostCalls()
                        : TransitionSet::None().With(Transition::kCallingHost);
}

PolicyHook::Plan* PolicyHook::PlanOf(const FunctionIdentity& function) {
  // kNoIndex is past every plan.
  if (function.binding >= plans_.size()) return nullptr;
  return plans_[function.binding].get();
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
  Plan* plan = PlanOf(call.function());
  if (plan == nullptr) {
    matches_.clear();
    texts_.clear();
    AddEngineFault(nullptr, "a host function was never linked");
    return ConcludeHostCall(call, nullptr, false);
  }
  ++host_calls_;
  ++calls_of_store_;
  if (plan->quiet && host_calls_ <= next_host_call_mark_) {
    ++plan->allowed;
    return call.Proceed();
  }
  return JudgeHostCall(call, *plan);
}

Disposition PolicyHook::JudgeHostCall(CallContext& call, Plan& plan) {
  matches_.clear();
  texts_.clear();
  if (host_calls_ > next_host_call_mark_) AddHostCallBudgets();
  const bool over_budget = !matches_.empty();
  for (const Plan::Static& m : plan.matches) {
    matches_.push_back(
        MatchOf(*m.rule, m.policy, m.verdict, m.mode, m.message));
  }
  AddRateLimits(plan);
  if (!plan.fault.empty()) AddEngineFault(&plan, plan.fault);
  if (!plan.judges.empty()) AddConditions(call, plan);
  const bool stopped =
      std::any_of(matches_.begin(), matches_.end(), [](const RuleMatch& m) {
        return m.mode == Mode::kEnforce && StopsCall(m.verdict);
      });
  // What does not happen needs no copies.
  if (!stopped) AddArguments(call, plan);
  if (matches_.empty()) {
    ++plan.allowed;
    return call.Proceed();
  }
  return ConcludeHostCall(call, &plan, over_budget);
}

void PolicyHook::AddConditions(CallContext& call, Plan& plan) {
  CallMoment moment(call, facts_, calls_of_store_ - 1, options_.wall_clock,
                    options_.handles);
  for (PlanJudge& judge : plan.judges) {
    AddJudged(plan, judge, moment);
  }
}

void PolicyHook::AddJudged(const Plan& plan, PlanJudge& judge,
                           CallMoment& moment) {
  const size_t p = judge.policy;
  const Policy& policy = *policies_[p];
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
                modes_[p], texts_.back()));
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
          Sentence(rule, absl::StrCat(FormatImportName(plan.function->module,
                                                       plan.function->name),
                                      " is ", PastParticiple(rule.verdict))));
    }
    const Verdict verdict =
        rule.verdict == Verdict::kDeny && !plan.answers_errno ? Verdict::kTrap
                                                              : rule.verdict;
    matches_.push_back(
        MatchOf(rule, p, verdict, ModeOf(rule, p), texts_.back()));
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
  const Plan::Static& m = *judge.no_allow;
  matches_.push_back(MatchOf(*m.rule, m.policy, m.verdict, m.mode, m.message));
}

void PolicyHook::NoteFailure(const Rule& rule, size_t policy,
                             const std::string& why) {
  ++conditions_failed_;
  RuleState& state = rule_states_[&rule];
  if (std::exchange(state.failure_told, true)) return;
  sink_.OnConditionFailed(facts_, policies_[policy]->name(), rule.id, why);
}

absl::Duration PolicyHook::DelayOf(const Rule& rule) {
  const ThrottleSpec& spec = rule.throttle;
  RuleState& state = rule_states_[&rule];
  const absl::Time now = clock_();
  const bool rested =
      state.last == absl::InfinitePast() || now - state.last > spec.cool_down;
  state.delay = rested ? spec.base_delay
                       : std::min(spec.max_delay, state.delay * spec.factor);
  // The rest begins when the delay is over.
  state.last = now + state.delay;
  return state.delay;
}

void PolicyHook::AddArguments(CallContext& call, const Plan& plan) {
  for (const Plan::Argument& argument : plan.arguments) {
    const auto denial =
        CaptureArgument(argument.spec, *plan.function->type, call);
    if (!denial.ok()) {
      AddEngineFault(&plan, denial.status().message());
      return;
    }
    if (!denial->has_value()) continue;
    const Plan::Static& m = argument.match;
    texts_.push_back((*denial)->reason);
    matches_.push_back(
        MatchOf(*m.rule, m.policy, m.verdict, m.mode, texts_.back()));
    if (m.verdict == Verdict::kDeny) {
      matches_.back().guest_errno = (*denial)->guest_errno;
    }
  }
}

Disposition PolicyHook::ConcludeHostCall(CallContext& call, Plan* plan,
                                         bool over_budget) {
  DecisionRecord record;
  record.subject = DecisionRecord::Subject::kHostCall;
  if (over_budget) record.budget = BudgetName(Budget::kHostCallsPerCall);
  record.import_module = call.function().module;
  record.import_name = call.function().name;
  const CallerFrame caller = call.caller();
  record.caller_func_index = caller.func_index;
  record.caller_func_name = caller.func_name;
  record.depth = call.depth();
  Judgement judgement = Conclude(record);
  if (!StopsCall(judgement.verdict)) {
    if (plan != nullptr) ++plan->allowed_with_record;
    return judgement.delay > absl::ZeroDuration()
               ? call.ProceedAfter(judgement.delay)
               : call.Proceed();
  }
  if (plan != nullptr) ++plan->stopped;
  if (judgement.verdict != Verdict::kDeny) {
    return call.Refuse(std::move(judgement.violation));
  }
  CALLGATE_CHECK(plan != nullptr && plan->answers_errno,
                 "deny is a trap where it cannot be answered");
  plan->answer[0] = RawValue::I32(judgement.guest_errno);
  return call.Answer(plan->answer);
}

void PolicyHook::AddRateLimits(Plan& plan) {
  if (plan.buckets.empty()) return;
  const absl::Time now = clock_();
  for (const Plan::Bucket& b : plan.buckets) {
    if (buckets_[b.bucket].Take(now)) continue;
    const Plan::Static& m = b.match;
    matches_.push_back(
        MatchOf(*m.rule, m.policy, m.verdict, m.mode, m.message));
  }
}

// --- Faults and verdicts -----------------------------------------------------

void PolicyHook::AddEngineFault(const Plan* plan, absl::string_view what) {
  ++engine_faults_;
  texts_.push_back(absl::StrCat("fault of the policy engine: ", what));
  if (!fault_reported_) {
    fault_reported_ = true;
    sink_.OnEngineFault(facts_, texts_.back());
  }
  const bool answers_errno = plan != nullptr && plan->answers_errno;
  for (size_t p = 0; p < policies_.size(); ++p) {
    const Rule& rule = policies_[p]->on_engine_error();
    const Verdict verdict = rule.verdict == Verdict::kDeny && !answers_errno
                                ? Verdict::kTrap
                                : rule.verdict;
    matches_.push_back(MatchOf(rule, p, verdict, modes_[p], texts_.back()));
  }
}

PolicyHook::Judgement PolicyHook::Conclude(DecisionRecord record) {
  CALLGATE_DCHECK(!matches_.empty(), "a decision has a reason");
  // The most severe; of equals the smaller rule id, then policy name.
  const auto names_it = [](const RuleMatch& a, const RuleMatch& b) {
    if (a.verdict != b.verdict) return a.verdict > b.verdict;
    return std::tie(a.rule, a.policy) < std::tie(b.rule, b.policy);
  };
  const RuleMatch* enforced = nullptr;
  const RuleMatch* any = nullptr;
  record.report = false;
  for (const RuleMatch& m : matches_) {
    if (any == nullptr || names_it(m, *any)) any = &m;
    if (m.mode == Mode::kEnforce &&
        (enforced == nullptr || names_it(m, *enforced))) {
      enforced = &m;
    }
    record.report = record.report || m.severity >= m.min_severity;
  }
  const RuleMatch& named = enforced != nullptr ? *enforced : *any;
  const std::string id = absl::StrCat(facts_.store_id, "-", ++records_);
  record.decision_id = id;
  record.store = &facts_;
  record.verdict = enforced != nullptr ? enforced->verdict : Verdict::kAllow;
  record.would_be_verdict = any->verdict;
  record.mode = enforced != nullptr ? Mode::kEnforce : Mode::kAudit;
  record.severity = named.severity;
  record.policy = named.policy;
  record.policy_version = named.policy_version;
  record.rule = named.rule;
  record.message = named.message;
  record.guest_errno = enforced != nullptr ? enforced->guest_errno : 0;
  if (record.verdict == Verdict::kThrottle) {
    for (const RuleMatch& m : matches_) {
      if (m.mode == Mode::kEnforce) {
        record.delay = std::max(record.delay, m.delay);
      }
    }
  }
  record.matches = matches_;

  Judgement judgement;
  judgement.verdict = record.verdict;
  judgement.guest_errno = record.guest_errno;
  judgement.delay = record.delay;
  if (record.verdict > Verdict::kDeny) {
    PolicyViolation::Facts facts;
    facts.verdict = record.verdict;
    facts.policy = std::string(record.policy);
    facts.policy_version = std::string(record.policy_version);
    facts.rule = std::string(record.rule);
    facts.import_module = std::string(record.import_module);
    facts.import_name = std::string(record.import_name);
    // Only if it is a budget that speaks.
    if (absl::string_view(named.rule).substr(0, 7) == "budget:") {
      facts.budget = std::string(record.budget);
    }
    facts.decision_id = id;
    facts.reason = std::string(record.message);
    judgement.violation =
        std::make_shared<const PolicyViolation>(std::move(facts));
    if (EndsStore(record.verdict)) latched_ = judgement.violation;
  }
  sink_.OnDecision(record);
  return judgement;
}

// --- Counts ------------------------------------------------------------------

PolicyHook::Counts PolicyHook::DrainCounts() {
  Counts counts;
  for (const auto& plan : plans_) {
    if (plan == nullptr) continue;
    ImportCount count;
    count.function = plan->function;
    count.allowed = std::exchange(plan->allowed, 0);
    count.allowed_with_record = std::exchange(plan->allowed_with_record, 0);
    count.stopped = std::exchange(plan->stopped, 0);
    if (count.allowed + count.allowed_with_record + count.stopped > 0) {
      counts.imports.push_back(count);
    }
  }
  counts.refused_after_end = std::exchange(refused_after_end_, 0);
  counts.engine_faults = std::exchange(engine_faults_, 0);
  counts.conditions_failed = std::exchange(conditions_failed_, 0);
  return counts;
}

}  // namespace callgate::policy
