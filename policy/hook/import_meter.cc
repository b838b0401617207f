#include "policy/hook/import_meter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/condition.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

using expression::Evaluation;
using expression::Program;
using expression::Value;
using expression::ValueKind;
using Pattern = TemporalRule::Pattern;

// A number at least 0; nothing for others.
std::optional<double> CostOf(const Value& value) {
  double cost = -1;
  switch (value.kind()) {
    case ValueKind::kInt:
      cost = static_cast<double>(value.as_int());
      break;
    case ValueKind::kUint:
      cost = static_cast<double>(value.as_uint());
      break;
    case ValueKind::kDouble:
      cost = value.as_double();
      break;
    default:
      break;
  }
  // Not a number is not at least 0 either.
  if (!(cost >= 0)) return std::nullopt;
  return cost;
}

bool MayBe(const TemporalRule::Step& step, bool stopped, bool after) {
  // A call that does not happen is over at once.
  return stopped ? step.attempts : step.runs_after == after;
}

ImportMeter::Phase PhaseOf(const TemporalRule& rule) {
  if (rule.rule.runs_after) return ImportMeter::Phase::kAfter;
  return rule.reads_denied ? ImportMeter::Phase::kDenied
                           : ImportMeter::Phase::kBefore;
}

}  // namespace

ImportMeter::ImportMeter(size_t index, const Policy& policy,
                         const SpecialisedImport& import,
                         absl::Span<const std::shared_ptr<RuleState>> states)
    : index_(index), import_(&import) {
  size_t items = 0;
  size_t values = 0;
  size_t late = 0;
  const auto watch = [this](const RuleState& state) {
    shares_ = shares_ || state.shape().scope != StateScope::kStore;
  };
  for (const SpecialisedLimit& special : import.limits) {
    const RateLimit& limit = policy.rate_limits()[special.limit];
    limits_.push_back({&special, &limit, states[special.limit], std::nullopt});
    watch(*limits_.back().state);
    runs_after_ = runs_after_ || limit.rule.runs_after;
  }
  for (const SpecialisedTemporal& special : import.temporal) {
    const TemporalRule& rule = policy.temporal()[special.rule];
    Temporal& t = temporal_.emplace_back();
    t.special = &special;
    t.rule = &rule;
    t.state = states[policy.rate_limits().size() + special.rule];
    watch(*t.state);
    reads_denied_ = reads_denied_ || PhaseOf(rule) == Phase::kDenied;
    runs_after_ = runs_after_ || rule.rule.runs_after ||
                  (rule.pattern == Pattern::kSum && !rule.count_in_flight);
    for (const SpecialisedStep& step : special.steps) {
      runs_after_ = runs_after_ || rule.steps[step.step].runs_after;
    }
    for (const SpecialisedStep& step : special.unless) {
      runs_after_ = runs_after_ || rule.unless[step.step].runs_after;
    }
    if (special.formerly) {
      runs_after_ = runs_after_ || rule.formerly->runs_after;
    }
    for (size_t step = 0; step <= rule.steps.size(); ++step) {
      t.past_of_step.push_back(static_cast<size_t>(
          std::lower_bound(rule.past.begin(), rule.past.end(), step,
                           [](const TemporalRule::PastFact& past, size_t s) {
                             return past.step < s;
                           }) -
          rule.past.begin()));
    }
    size_t of_rule = 0;
    for (const FactsShape& record : rule.state.records) {
      of_rule += record.items;
      values = std::max(values, record.facts);
    }
    items = std::max(items, of_rule);
    late = std::max(late, rule.late_facts);
  }
  items_.reserve(items);
  values_.resize(values);
  late_facts_.resize(late);
}

// --- What all have in common -------------------------------------------------

void ImportMeter::Fail(const Rule& rule, const Program& program,
                       const Value& error, const Event& event,
                       std::string* why) {
  event.findings.AddFailure(index_, rule, program.Describe(error));
  if (why != nullptr) *why = std::string(expression::ErrorText(error.error()));
}

bool ImportMeter::Holds(const Rule& rule, const SpecialisedRule& says,
                        const Event& event, std::string* why) {
  const ImportJudge::Outcome outcome =
      event.judge.Judge(says, event.moment, event.scratch);
  if (event.findings.wants_answers()) {
    event.findings.AddAnswer(index_, rule, outcome);
  }
  if (outcome.answer == ImportJudge::Answer::kFailed) {
    Fail(rule, *says.when, outcome.error, event, why);
  }
  return outcome.answer != ImportJudge::Answer::kNo;
}

bool ImportMeter::StepHolds(const Rule& rule, const SpecialisedStep& step,
                            const Event& event, bool if_failed) {
  if (!step.when) return true;
  const Evaluation holds =
      event.judge.Evaluate(*step.when, event.moment, event.scratch);
  if (event.findings.wants_answers()) {
    ImportJudge::Outcome outcome;
    outcome.answer = !holds.ok()             ? ImportJudge::Answer::kFailed
                     : holds.value.as_bool() ? ImportJudge::Answer::kYes
                                             : ImportJudge::Answer::kNo;
    event.findings.AddAnswer(index_, rule, outcome);
  }
  if (holds.ok()) return holds.value.as_bool();
  Fail(rule, *step.when, holds.value, event, nullptr);
  return if_failed;
}

void ImportMeter::DescribeStates(std::vector<FactText>* states) const {
  for (const Limit& limit : limits_) {
    states->push_back({limit.limit->rule.id, limit.state->Describe()});
  }
  for (const Temporal& temporal : temporal_) {
    states->push_back({temporal.rule->rule.id, temporal.state->Describe()});
  }
}

void ImportMeter::AddMatch(const Rule& rule, const SpecialisedRule& says,
                           const Event& event, const std::string& why,
                           absl::string_view sentence, bool is_rate_limit,
                           std::optional<absl::Duration> delay) {
  std::string message;
  if (!why.empty()) {
    message = absl::StrCat(
        "a condition could not be evaluated, so it counts as true: ", why);
  } else if (!says.message.parts.empty()) {
    message = event.judge.MessageOf(says, event.moment, event.scratch);
  } else if (!rule.message.empty()) {
    message = rule.message;
  } else {
    message = std::string(sentence);
  }
  event.findings.AddMatch(index_, rule, is_rate_limit, std::move(message),
                          delay);
}

uint64_t ImportMeter::KeyOf(const SpecialisedKey& key, const StateShape& shape,
                            const Event& event,
                            std::optional<uint64_t>* fixed) {
  // All have the same.
  if (shape.keys_max == 1) return 0;
  if (fixed->has_value()) return **fixed;
  Fingerprint fingerprint(event.key);
  for (const uint32_t slot : key.slots) {
    fingerprint.Add(event.judge.FactAt(slot, event.moment));
  }
  const uint64_t hash = fingerprint.Finish();
  if (key.is_fixed) *fixed = hash;
  return hash;
}

void ImportMeter::Account(const Temporal& t, bool has_lost,
                          const Event& event) {
  t.state->Account(has_lost);
  if (has_lost) {
    event.findings.AddLoss(index_, t.rule->rule, t.rule->traps_on_overflow);
  }
}

// --- Rate limits -------------------------------------------------------------

void ImportMeter::Limits(const Event& event, bool after) {
  for (Limit& l : limits_) {
    const Rule& rule = l.limit->rule;
    if (rule.runs_after != after) continue;
    const SpecialisedLimit& special = *l.special;
    std::string why;
    if (!Holds(rule, special.says, event, &why)) continue;
    double cost = 1;
    if (special.cost) {
      const Evaluation evaluated =
          event.judge.Evaluate(*special.cost, event.moment, event.scratch);
      const std::optional<double> number =
          evaluated.ok() ? CostOf(evaluated.value) : std::nullopt;
      if (!number) {
        if (evaluated.ok()) {
          why = "the cost is no number that is at least 0";
          event.findings.AddFailure(index_, rule, why);
        } else {
          Fail(rule, *special.cost, evaluated.value, event, &why);
        }
        AddMatch(rule, special.says, event, why, "", /*is_rate_limit=*/true);
        continue;
      }
      cost = *number;
    }
    RuleState& state = *l.state;
    const temporal::Moment now = state.Advance(event.now);
    const StateShape& shape = state.shape();
    const auto found =
        state.buckets().Get(KeyOf(special.key, shape, event, &l.fixed_key));
    state.Account(found.evicted);
    if (found.evicted) event.findings.AddLoss(index_, rule, false);
    std::optional<absl::Duration> delay;
    if (l.limit->owes) {
      delay = absl::Nanoseconds(found.state->TakeOwing(
          shape.bucket, now, cost, absl::ToInt64Nanoseconds(kDelayMax)));
      if (*delay <= absl::ZeroDuration()) continue;
    } else if (found.state->Take(shape.bucket, now, cost)) {
      continue;
    }
    AddMatch(rule, special.says, event, "",
             absl::StrCat("too many calls of ", import_->names.import),
             /*is_rate_limit=*/true, delay);
  }
}

// --- Judging -----------------------------------------------------------------

void ImportMeter::Judge(const Event& event, Phase phase, bool stopped) {
  for (Temporal& t : temporal_) {
    if (!t.special->can_fire || PhaseOf(*t.rule) != phase) continue;
    switch (t.rule->pattern) {
      case Pattern::kCount:
      case Pattern::kDistinct:
      case Pattern::kSum:
        // These see every attempt.
        JudgeWindow(t, event);
        break;
      case Pattern::kRequire:
        if (!stopped) JudgeRequire(t, event);
        break;
      case Pattern::kSequence:
        if (!stopped || t.rule->steps.back().attempts) JudgeSequence(t, event);
        break;
    }
  }
}

std::optional<uint64_t> ImportMeter::AmountOf(Temporal& t, const Event& event,
                                              std::string* why) {
  const Evaluation amount =
      event.judge.Evaluate(*t.special->value, event.moment, event.scratch);
  if (amount.ok() && amount.value.kind() == ValueKind::kUint) {
    return amount.value.as_uint();
  }
  if (amount.ok() && amount.value.kind() == ValueKind::kInt &&
      amount.value.as_int() >= 0) {
    return amount.value.as_uint();
  }
  if (amount.ok()) {
    *why = "the value is no whole number that is at least 0";
    event.findings.AddFailure(index_, t.rule->rule, *why);
  } else {
    Fail(t.rule->rule, *t.special->value, amount.value, event, why);
  }
  return std::nullopt;
}

void ImportMeter::JudgeWindow(Temporal& t, const Event& event) {
  const Rule& rule = t.rule->rule;
  const SpecialisedTemporal& special = *t.special;
  RuleState& state = *t.state;
  const StateShape& shape = state.shape();
  std::string why;
  if (!Holds(rule, special.says, event, &why)) return;
  const std::string& import = import_->names.import;
  const auto within = [&shape] {
    return absl::FormatDuration(absl::Nanoseconds(shape.within));
  };
  const temporal::Moment now = state.Advance(event.now);
  switch (t.rule->pattern) {
    case Pattern::kCount: {
      const auto found =
          state.counts().Get(KeyOf(special.key, shape, event, &t.fixed_key));
      const bool reached = found.state->OnEvent(now);
      Account(t, found.evicted, event);
      if (!reached) return;
      AddMatch(rule, special.says, event, "",
               absl::StrCat(shape.threshold, " such calls within ", within(),
                            ", this one of ", import));
      return;
    }
    case Pattern::kDistinct: {
      const Evaluation value =
          event.judge.Evaluate(*special.value, event.moment, event.scratch);
      if (!value.ok()) {
        Fail(rule, *special.value, value.value, event, &why);
        AddMatch(rule, special.says, event, why, "");
        return;
      }
      Fingerprint fingerprint(event.key);
      fingerprint.Add(value.value);
      const uint64_t print = fingerprint.Finish();
      const auto found =
          state.distincts().Get(KeyOf(special.key, shape, event, &t.fixed_key));
      const bool reached = found.state->OnValue(now, print);
      Account(t, found.evicted, event);
      if (!reached) return;
      AddMatch(rule, special.says, event, "",
               absl::StrCat(shape.threshold, " different values within ",
                            within(), ", this one in a call of ", import));
      return;
    }
    default:
      break;
  }
  const std::optional<uint64_t> amount = AmountOf(t, event, &why);
  if (!amount) {
    AddMatch(rule, special.says, event, why, "");
    return;
  }
  const auto found =
      state.sums().Get(KeyOf(special.key, shape, event, &t.fixed_key));
  bool reached;
  if (t.rule->count_in_flight || rule.runs_after) {
    reached = found.state->OnAmount(now, *amount);
  } else {
    // It counts for itself now, and for others when it is over.
    uint64_t sum;
    reached = __builtin_add_overflow(found.state->SumAt(now), *amount, &sum) ||
              sum >= shape.threshold;
  }
  Account(t, found.evicted, event);
  if (!reached) return;
  AddMatch(rule, special.says, event, "",
           absl::StrCat("values of ", shape.threshold, " or more within ",
                        within(), ", with this call of ", import));
}

void ImportMeter::SettleSum(Temporal& t, const Event& event) {
  const SpecialisedTemporal& special = *t.special;
  RuleState& state = *t.state;
  std::string why;
  // What failed has been told, and matched, when the call began.
  if (event.judge.Judge(special.says, event.moment, event.scratch).answer ==
      ImportJudge::Answer::kNo) {
    return;
  }
  const std::optional<uint64_t> amount = AmountOf(t, event, &why);
  if (!amount) return;
  const temporal::Moment now = state.Advance(event.now);
  const auto found =
      state.sums().Get(KeyOf(special.key, state.shape(), event, &t.fixed_key));
  found.state->OnAmount(now, *amount);
  Account(t, found.evicted, event);
}

void ImportMeter::JudgeRequire(Temporal& t, const Event& event) {
  const Rule& rule = t.rule->rule;
  const SpecialisedTemporal& special = *t.special;
  std::string why;
  if (!Holds(rule, special.says, event, &why)) return;
  RuleState& state = *t.state;
  const temporal::Moment now = state.Advance(event.now);
  bool found;
  if (t.rule->late == nullptr) {
    found = state.formerly().AnyWithin(now,
                                       [](const FactsRecord&) { return true; });
  } else {
    const absl::Span<Value> facts = absl::MakeSpan(late_facts_);
    for (size_t i = 0; i < t.rule->late_current.size(); ++i) {
      const uint32_t slot = special.late_current[i];
      facts[t.rule->late_current[i].slot] =
          slot == kNoIndex ? Value() : event.judge.FactAt(slot, event.moment);
    }
    const size_t kept = t.rule->late_past.size();
    found = state.formerly().AnyWithin(now, [&](const FactsRecord& record) {
      items_.clear();
      record.Restore(/*for_message=*/false,
                     absl::MakeSpan(values_).subspan(0, kept), &items_);
      for (size_t i = 0; i < kept; ++i) {
        facts[t.rule->late_past[i].slot] = values_[i];
      }
      const Evaluation holds =
          t.rule->late->Evaluate(facts, event.scratch, nullptr);
      return holds.ok() && holds.value.as_bool();
    });
  }
  if (found) return;
  AddMatch(
      rule, special.says, event, why,
      absl::StrCat(
          "nothing within ",
          absl::FormatDuration(absl::Nanoseconds(state.shape().within)),
          " before a call of ", import_->names.import, " is what it needs"));
}

// --- Sequences ---------------------------------------------------------------

void ImportMeter::FillPast(const Temporal& t, const Attempt* attempt,
                           size_t present, bool for_message,
                           const Event& event) {
  const std::vector<PastSlot>& past = t.special->past;
  if (past.empty()) return;
  // They stand in a row.
  const absl::Span<Value> facts =
      event.judge.facts().subspan(past.front().slot, past.size());
  items_.clear();
  for (size_t step = 0; step < t.rule->steps.size(); ++step) {
    const size_t begin = t.past_of_step[step];
    const size_t count = t.past_of_step[step + 1] - begin;
    if (count == 0) continue;
    if (step == present) {
      for (size_t i = begin; i < begin + count; ++i) {
        facts[i] = past[i].from == kNoIndex
                       ? Value()
                       : event.judge.FactAt(past[i].from, event.moment);
      }
    } else if (attempt != nullptr && step < attempt->done) {
      attempt->records[step].Restore(for_message, facts.subspan(begin, count),
                                     &items_);
    } else {
      std::fill_n(facts.begin() + static_cast<ptrdiff_t>(begin), count,
                  Value());
    }
  }
}

void ImportMeter::FillRecord(const Temporal& t, size_t step, const Event& event,
                             FactsRecord* record) {
  const std::vector<PastSlot>& past = t.special->past;
  const size_t begin = t.past_of_step[step];
  const size_t count = t.past_of_step[step + 1] - begin;
  uint64_t hidden = 0;
  for (size_t i = 0; i < count; ++i) {
    const PastSlot& slot = past[begin + i];
    values_[i] = slot.from == kNoIndex
                     ? Value()
                     : event.judge.FactAt(slot.from, event.moment);
    if (slot.is_redacted) hidden |= uint64_t{1} << i;
  }
  record->Fill(absl::MakeSpan(values_).subspan(0, count), hidden);
}

void ImportMeter::JudgeSequence(Temporal& t, const Event& event) {
  const TemporalRule& rule = *t.rule;
  const size_t last = rule.steps.size() - 1;
  const SpecialisedStep& step = t.special->steps.back();
  CALLGATE_DCHECK(step.step == last, "can_fire says so");
  RuleState& state = *t.state;
  const temporal::Moment now = state.Advance(event.now);
  // The same for all attempts, if it reads nothing of theirs.
  std::optional<bool> holds;
  const Attempt* completed = state.sequence().Completed(
      now, event.number, [&](const Attempt& attempt) {
        if (!rule.steps[last].reads_past && holds) return *holds;
        FillPast(t, &attempt, last, /*for_message=*/false, event);
        holds = StepHolds(rule.rule, step, event, /*if_failed=*/true);
        return *holds;
      });
  if (completed == nullptr) return;
  if (event.judge.IsExcepted(t.special->says, event.moment, event.scratch)) {
    return;
  }
  FillPast(t, completed, last, /*for_message=*/true, event);
  AddMatch(rule.rule, t.special->says, event, "",
           absl::StrCat(
               "a call of ", import_->names.import, " completes a sequence of ",
               rule.steps.size(), " steps within ",
               absl::FormatDuration(absl::Nanoseconds(state.shape().within))));
}

void ImportMeter::CommitSequence(Temporal& t, const Event& event, bool stopped,
                                 bool after) {
  const TemporalRule& rule = *t.rule;
  const SpecialisedTemporal& special = *t.special;
  const size_t last = rule.steps.size() - 1;
  // Which steps this may be: those that say so of themselves, and those that
  // depend on the attempt.
  uint32_t is_step = 0;
  uint32_t depends = 0;
  const SpecialisedStep* steps[temporal::kSequenceStepsMax] = {};
  for (const SpecialisedStep& step : special.steps) {
    if (step.step == last || !MayBe(rule.steps[step.step], stopped, after)) {
      continue;
    }
    steps[step.step] = &step;
    if (rule.steps[step.step].reads_past) {
      depends |= 1u << step.step;
      continue;
    }
    FillPast(t, nullptr, step.step, /*for_message=*/false, event);
    if (StepHolds(rule.rule, step, event, /*if_failed=*/true)) {
      is_step |= 1u << step.step;
    }
  }
  bool ends_all = false;
  bool may_end = false;
  for (const SpecialisedStep& step : special.unless) {
    const TemporalRule::Step& unless = rule.unless[step.step];
    if (ends_all || !MayBe(unless, stopped, after)) continue;
    if (unless.reads_past) {
      may_end = true;
    } else {
      FillPast(t, nullptr, kNoIndex, /*for_message=*/false, event);
      ends_all = StepHolds(rule.rule, step, event, /*if_failed=*/false);
    }
  }
  if (is_step == 0 && depends == 0 && !ends_all && !may_end) return;

  RuleState& state = *t.state;
  const temporal::Moment now = state.Advance(event.now);
  const auto matches = [&](size_t step, const Attempt* attempt) {
    if ((depends >> step & 1) == 0) return (is_step >> step & 1) != 0;
    FillPast(t, attempt, step, /*for_message=*/false, event);
    return StepHolds(rule.rule, *steps[step], event, /*if_failed=*/true);
  };
  const auto fill = [&](FactsRecord* record, size_t step) {
    FillRecord(t, step, event, record);
  };
  const auto ends = [&](const Attempt& attempt) {
    if (ends_all || !may_end) return ends_all;
    for (const SpecialisedStep& step : special.unless) {
      const TemporalRule::Step& unless = rule.unless[step.step];
      if (!unless.reads_past || !MayBe(unless, stopped, after)) continue;
      FillPast(t, &attempt, kNoIndex, /*for_message=*/false, event);
      if (StepHolds(rule.rule, step, event, /*if_failed=*/false)) return true;
    }
    return false;
  };
  const bool lost =
      state.sequence().OnEvent(now, event.number, matches, fill, ends);
  Account(t, lost, event);
}

void ImportMeter::CommitFormerly(Temporal& t, const Event& event, bool stopped,
                                 bool after) {
  const TemporalRule& rule = *t.rule;
  const SpecialisedTemporal& special = *t.special;
  if (!MayBe(*rule.formerly, stopped, after)) return;
  if (special.formerly->when) {
    // Nothing is known of the later event: a condition that depends on it
    // cannot be evaluated, one that does not, can.
    const absl::Span<Value> facts = event.judge.facts();
    for (size_t i = import_->own_fact_count; i < facts.size(); ++i) {
      facts[i] = Value();
    }
    const Evaluation holds = event.judge.Evaluate(*special.formerly->when,
                                                  event.moment, event.scratch);
    if (holds.ok() && !holds.value.as_bool()) return;
    if (!holds.ok() && rule.late == nullptr) {
      Fail(rule.rule, *special.formerly->when, holds.value, event, nullptr);
      return;
    }
  }
  RuleState& state = *t.state;
  const temporal::Moment now = state.Advance(event.now);
  const auto added = state.formerly().Add(now);
  const size_t kept = special.late_past.size();
  for (size_t i = 0; i < kept; ++i) {
    const uint32_t slot = special.late_past[i];
    values_[i] =
        slot == kNoIndex ? Value() : event.judge.FactAt(slot, event.moment);
  }
  added.payload->Fill(absl::MakeSpan(values_).subspan(0, kept));
  // Where the last event is as good as all of them, none is missed.
  Account(t, added.lost && rule.late != nullptr, event);
}

void ImportMeter::Commit(const Event& event, bool stopped, bool after) {
  for (Temporal& t : temporal_) {
    switch (t.rule->pattern) {
      case Pattern::kSequence:
        CommitSequence(t, event, stopped, after);
        break;
      case Pattern::kRequire:
        if (t.special->formerly) CommitFormerly(t, event, stopped, after);
        break;
      case Pattern::kSum:
        if (!t.rule->count_in_flight && !t.rule->rule.runs_after &&
            (stopped || after)) {
          SettleSum(t, event);
        }
        break;
      case Pattern::kCount:
      case Pattern::kDistinct:
        break;
    }
  }
}

}  // namespace callgate::policy
