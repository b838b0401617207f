// The half of the hook that judges what happens inside the guest: growths, and
// entries of its own functions.

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/hook/policy_hook.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

// The usual sentence of a rule about an event.
std::string Sentence(const Rule& rule, const EventMoment& moment) {
  if (!rule.message.empty()) return rule.message;
  if (moment.entry() != nullptr) {
    const ProbedFunction& function = moment.entry()->function;
    return absl::StrCat("function ", function.func_index, " ",
                        Quote(function.name), " is ",
                        PastParticiple(rule.verdict));
  }
  const GrowthEvent& growth = *moment.growth();
  const bool is_memory = growth.kind == GrowthEvent::Kind::kMemory;
  return absl::StrCat("growth of ", is_memory ? "memory" : "table", " ",
                      growth.index, " from ", growth.current, " to ",
                      growth.desired, is_memory ? " bytes" : " elements",
                      " is ", PastParticiple(rule.verdict));
}

}  // namespace

void PolicyHook::AddInner(InnerRules::Plan& plan, InnerEvent event,
                          EventMoment& moment) {
  if (!plan.fault.empty()) {
    AddEngineFault(EngineFault::kEventNotJudged, nullptr, plan.fault);
  }
  if (options_.keep_answers) answers_.clear();
  if (scratch_ == nullptr && !plan.judges.empty()) {
    scratch_ = std::make_unique<expression::Scratch>();
  }
  for (InnerRules::Planned& planned : plan.judges) {
    const size_t p = planned.policy;
    planned.judge.Begin(moment);
    for (const SpecialisedRule& special : planned.judge.rules()) {
      const EventJudge::Outcome outcome =
          planned.judge.Judge(special, moment, scratch_.get());
      const Rule& rule = rules_->policy(p).rules()[special.rule];
      if (options_.keep_answers) KeepAnswer(p, rule, outcome);
      if (outcome.answer == EventJudge::Answer::kNo) continue;
      if (outcome.answer == EventJudge::Answer::kFailed) {
        texts_.push_back(absl::StrCat(
            "the condition could not be evaluated, so it counts as true: ",
            expression::ErrorText(outcome.error.error())));
        NoteFailure(rule, p, special.when->Describe(outcome.error));
      } else if (!special.message.parts.empty()) {
        texts_.push_back(
            planned.judge.MessageOf(special, moment, scratch_.get()));
      } else {
        texts_.push_back(Sentence(rule, moment));
      }
      // Nobody answers an errno for a function of the guest's own; a growth
      // that is denied answers -1.
      const Verdict verdict = rule.verdict == Verdict::kDeny && !IsGrowth(event)
                                  ? Verdict::kTrap
                                  : rule.verdict;
      matches_.push_back(
          MatchOf(rule, p, verdict, rules_->ModeOf(rule, p), texts_.back()));
      matches_.back().guest_errno = 0;
    }
  }
}

GrowthAnswer PolicyHook::OnGrowth(const GrowthEvent& event) {
  if (latched_ != nullptr) {
    ++refused_after_end_;
    return GrowthAnswer::Stop(latched_);
  }
  if (exchange_.offered()) {
    // No host call in progress is as far in as the next one would be. Not as if
    // outside of any: so the next one is told to bind its functions anew.
    Adopt(std::max(guest_depth_ + 1, 3u));
  }
  // The limiter holds what the call from outside began under; policies that
  // came since may allow less.
  const bool is_memory = event.kind == GrowthEvent::Kind::kMemory;
  GrowthEvent seen = event;
  seen.allowed = event.allowed && !BudgetOver(event).has_value();
  if (seen.allowed) AuditGrowth(seen);
  matches_.clear();
  texts_.clear();
  const std::optional<Budget> over = AddGrowthBudget(seen, seen.allowed);
  InnerRules::Plan& plan = rules_->inner().growth(event.kind);
  EventMoment moment(&seen, nullptr, facts_,
                     {calls_of_store_, event.store_bytes, event.fuel_used},
                     options_.wall_clock);
  if (!plan.quiet()) {
    AddInner(plan, is_memory ? InnerEvent::kMemoryGrow : InnerEvent::kTableGrow,
             moment);
  } else if (options_.keep_answers) {
    answers_.clear();
  }
  const bool refused_here = event.allowed && !seen.allowed;
  if (matches_.empty()) return !refused_here;
  DecisionRecord record;
  record.subject = is_memory ? DecisionRecord::Subject::kMemoryGrow
                             : DecisionRecord::Subject::kTableGrow;
  if (over.has_value()) record.budget = BudgetName(*over);
  record.grow_index = event.index;
  record.grow_from = event.current;
  record.grow_to = event.desired;
  if (options_.keep_answers) DescribeFacts(moment, plan, &record);
  Judgement judgement = Conclude(record);
  if (judgement.violation != nullptr) {
    return GrowthAnswer::Stop(std::move(judgement.violation));
  }
  GrowthAnswer answer(!refused_here && judgement.verdict != Verdict::kDeny);
  answer.delay = judgement.delay;
  return answer;
}

EntryAnswer PolicyHook::OnFunctionEnter(const FunctionEntry& entry) {
  if (latched_ != nullptr) {
    ++refused_after_end_;
    return ErrorRef(latched_);
  }
  InnerRules::Plan& plan = rules_->inner().PlanOf(entry.function);
  if (plan.quiet()) return nullptr;
  matches_.clear();
  texts_.clear();
  EventMoment moment(nullptr, &entry, facts_,
                     {calls_of_store_, entry.store_bytes, entry.fuel_used},
                     options_.wall_clock);
  AddInner(plan, InnerEvent::kFunction, moment);
  if (matches_.empty()) return nullptr;
  DecisionRecord record;
  record.subject = DecisionRecord::Subject::kFunction;
  record.func_index = entry.function.func_index;
  record.func_name = entry.function.name;
  record.depth = entry.depth;
  const CallerFrame caller = entry.caller();
  record.caller_func_index = caller.func_index;
  record.caller_func_name = caller.func_name;
  if (options_.keep_answers) DescribeFacts(moment, plan, &record);
  Judgement judgement = Conclude(record);
  if (judgement.violation != nullptr) {
    return ErrorRef(std::move(judgement.violation));
  }
  EntryAnswer answer = nullptr;
  answer.delay = judgement.delay;
  return answer;
}

}  // namespace callgate::policy
