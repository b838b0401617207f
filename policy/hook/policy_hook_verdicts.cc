// The verdict half of the hook: from what matched to what happens, faults of
// the engine itself, and the counts.

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/hook/policy_hook.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

// The most severe; of equals the one of the narrower scope, then of the smaller
// rule id, then policy name.
bool NamesIt(const RuleMatch& a, const RuleMatch& b) {
  if (a.verdict != b.verdict) return a.verdict > b.verdict;
  return std::tie(a.scope, a.rule, a.policy) <
         std::tie(b.scope, b.rule, b.policy);
}

}  // namespace

RuleMatch PolicyHook::MatchOf(const Rule& rule, size_t policy, Verdict verdict,
                              Mode mode, absl::string_view message) {
  RuleMatch match;
  match.policy = rules_->policy(policy).name();
  match.policy_version = rules_->policy(policy).version();
  match.rule = rule.id;
  match.verdict = verdict;
  match.mode = mode;
  match.severity = rule.severity;
  match.scope = rule.scope;
  match.guest_errno = verdict == Verdict::kDeny ? rule.guest_errno : 0;
  if (verdict == Verdict::kThrottle) match.delay = DelayOf(rule);
  match.tags = rule.tags;
  match.message = message;
  match.min_severity = rules_->policy(policy).min_severity();
  match.suppression = rules_->policy(policy).suppression();
  return match;
}

void PolicyHook::NoteFailure(const Rule& rule, size_t policy,
                             const std::string& why) {
  ++conditions_failed_;
  RulesInForce::RuleState& state = rules_->StateOf(rule);
  if (std::exchange(state.failure_told, true)) return;
  sink_.OnConditionFailed(facts_, rules_->policy(policy).name(), rule.id, why);
}

void PolicyHook::NoteLoss(const Rule& rule, size_t policy) {
  ++losses_;
  RulesInForce::RuleState& state = rules_->StateOf(rule);
  if (std::exchange(state.loss_told, true)) return;
  sink_.OnRuleForgot(facts_, rules_->policy(policy).name(), rule.id);
}

const RuleMatch* PolicyHook::Enforced() const {
  const RuleMatch* enforced = nullptr;
  for (const RuleMatch& m : matches_) {
    if (m.mode == Mode::kEnforce &&
        (enforced == nullptr || NamesIt(m, *enforced))) {
      enforced = &m;
    }
  }
  return enforced;
}

bool PolicyHook::IsStopped() const {
  return std::any_of(matches_.begin(), matches_.end(), [](const RuleMatch& m) {
    return m.mode == Mode::kEnforce && StopsCall(m.verdict);
  });
}

absl::Duration PolicyHook::DelayOf(const Rule& rule) {
  const ThrottleSpec& spec = rule.throttle;
  RulesInForce::RuleState& state = rules_->StateOf(rule);
  const absl::Time now = clock_();
  const bool rested =
      state.last == absl::InfinitePast() || now - state.last > spec.cool_down;
  state.delay = rested ? spec.base_delay
                       : std::min(spec.max_delay, state.delay * spec.factor);
  // The rest begins when the delay is over.
  state.last = now + state.delay;
  return state.delay;
}

// --- Faults and verdicts -----------------------------------------------------

void PolicyHook::AddEngineFault(EngineFault fault, const ImportPlan* plan,
                                absl::string_view what) {
  ++engine_faults_;
  texts_.push_back(absl::StrCat("fault of the policy engine: ", what));
  const auto kind = static_cast<size_t>(fault);
  if (!faults_told_[kind]) {
    faults_told_[kind] = true;
    sink_.OnEngineFault(facts_, texts_.back());
  }
  const bool answers_errno = plan != nullptr && plan->answers_errno;
  for (size_t p = 0; p < rules_->policies().size(); ++p) {
    const Rule& rule = rules_->policy(p).on_engine_error();
    const Verdict verdict = rule.verdict == Verdict::kDeny && !answers_errno
                                ? Verdict::kTrap
                                : rule.verdict;
    matches_.push_back(
        MatchOf(rule, p, verdict, rules_->mode_of(p), texts_.back()));
  }
}

PolicyHook::Judgement PolicyHook::Conclude(DecisionRecord record) {
  CALLGATE_DCHECK(!matches_.empty(), "a decision has a reason");
  if (anomaly_ != nullptr &&
      record.subject != DecisionRecord::Subject::kHostCall) {
    anomaly_->NoteAlert();
  }
  const RuleMatch* enforced = Enforced();
  const RuleMatch* any = nullptr;
  record.report = false;
  for (const RuleMatch& m : matches_) {
    if (any == nullptr || NamesIt(m, *any)) any = &m;
    record.report = record.report || m.severity >= m.min_severity;
  }
  // Events that were to be told are missing, and that is always said.
  if (record.suppressed > 0) record.report = true;
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
  if (!EndsStore(record.verdict)) {
    record.suppression = named.suppression;
    // What says that events were held back is not held back.
    if (record.report && record.suppressed == 0 &&
        ++events_ >
            budgets().Max(Budget::kEventsPerCall).value_or(~uint64_t{0})) {
      record.report = false;
      record.over_events_budget = true;
      ++events_held_back_;
    }
  }
  if (IsAlert(any->verdict)) record.calls = call_ring_.get();

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

DecisionRecord PolicyHook::RecordOf(CallContext& call) const {
  DecisionRecord record;
  record.subject = DecisionRecord::Subject::kHostCall;
  record.import_module = call.function().module;
  record.import_name = call.function().name;
  const CallerFrame caller = call.caller();
  record.caller_func_index = caller.func_index;
  record.caller_func_name = caller.func_name;
  record.depth = call.depth();
  if (options_.keep_answers) {
    record.facts = fact_texts_;
    record.answers = answers_;
    record.state = state_texts_;
  }
  return record;
}

Disposition PolicyHook::ConcludeHostCall(CallContext& call, Linked* linked,
                                         bool over_budget) {
  DecisionRecord record = RecordOf(call);
  if (over_budget) record.budget = BudgetName(Budget::kHostCallsPerCall);
  Judgement judgement = Conclude(record);
  if (!StopsCall(judgement.verdict)) {
    if (linked != nullptr) ++linked->allowed_with_record;
    return ProceedAfter(call, judgement.delay);
  }
  if (linked != nullptr) ++linked->stopped;
  if (judgement.verdict != Verdict::kDeny) {
    return call.Refuse(std::move(judgement.violation));
  }
  CALLGATE_CHECK(linked != nullptr && linked->plan->answers_errno,
                 "deny is a trap where it cannot be answered");
  std::vector<RawValue>& answer = linked->plan->answer;
  answer[0] = RawValue::I32(judgement.guest_errno);
  return call.Answer(answer);
}

// --- Counts ------------------------------------------------------------------

PolicyHook::Counts PolicyHook::DrainCounts() {
  Counts counts;
  for (Linked& linked : linked_) {
    if (linked.plan == nullptr) continue;
    ImportCount count;
    count.function = linked.plan->function;
    count.allowed = std::exchange(linked.allowed, 0);
    count.allowed_with_record = std::exchange(linked.allowed_with_record, 0);
    count.stopped = std::exchange(linked.stopped, 0);
    if (count.allowed + count.allowed_with_record + count.stopped > 0) {
      counts.imports.push_back(count);
    }
  }
  counts.refused_after_end = std::exchange(refused_after_end_, 0);
  counts.engine_faults = std::exchange(engine_faults_, 0);
  counts.conditions_failed = std::exchange(conditions_failed_, 0);
  counts.losses = std::exchange(losses_, 0);
  return counts;
}

}  // namespace callgate::policy
