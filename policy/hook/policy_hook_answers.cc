// What the hook keeps for those who ask why: what each condition said of the
// call, and what was known of it.

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/hook/policy_hook.h"
#include "policy/import_name.h"
#include "policy/quote.h"

namespace callgate::policy {

void PolicyHook::KeepAnswer(size_t policy, const Rule& rule,
                            const ImportJudge::Outcome& outcome) {
  ConditionAnswer answer;
  answer.policy = rules_->policy(policy).name();
  answer.rule = rule.id;
  switch (outcome.answer) {
    case ImportJudge::Answer::kNo:
      if (outcome.exception != nullptr) {
        answer.kind = ConditionAnswer::Kind::kExcepted;
        answer.exception = outcome.exception->name.empty()
                               ? outcome.exception->reason
                               : outcome.exception->name;
      }
      break;
    case ImportJudge::Answer::kYes:
      answer.kind = ConditionAnswer::Kind::kTrue;
      break;
    case ImportJudge::Answer::kFailed:
      answer.kind = ConditionAnswer::Kind::kFailed;
      break;
  }
  answers_.push_back(answer);
}

void PolicyHook::KeepAnswersOfAnomalies() {
  if (anomaly_ == nullptr) return;
  std::vector<ConditionAnswer> answers = anomaly_->TakeAnswers();
  std::move(answers.begin(), answers.end(), std::back_inserter(answers_));
}

std::vector<ConditionAnswer> PolicyHook::TakeAnswers() {
  // Of a call that nobody else had anything to say of.
  KeepAnswersOfAnomalies();
  return std::exchange(answers_, {});
}

void PolicyHook::KeepAnswer(size_t policy, const Rule& rule,
                            const EventJudge::Outcome& outcome) {
  ImportJudge::Outcome same;
  same.exception = outcome.exception;
  switch (outcome.answer) {
    case EventJudge::Answer::kNo:
      break;
    case EventJudge::Answer::kYes:
      same.answer = ImportJudge::Answer::kYes;
      break;
    case EventJudge::Answer::kFailed:
      same.answer = ImportJudge::Answer::kFailed;
      break;
  }
  KeepAnswer(policy, rule, same);
}

void PolicyHook::DescribeFacts(EventMoment& moment,
                               const InnerRules::Plan& plan,
                               DecisionRecord* record) {
  fact_texts_.clear();
  DescribeEvent(moment, &fact_texts_);
  for (const InnerRules::Planned& planned : plan.judges) {
    planned.judge.DescribeParameters(&fact_texts_);
  }
  record->facts = fact_texts_;
  record->answers = answers_;
}

void PolicyHook::DescribeFacts(const CallContext& call, const ImportPlan& plan,
                               CallMoment& moment) {
  fact_texts_.clear();
  const auto add = [this](CallFact fact, std::string text) {
    fact_texts_.push_back({std::string(CallFactName(fact)), std::move(text)});
  };
  const FunctionIdentity& function = *plan.function;
  add(CallFact::kImport,
      Quote(FormatImportName(function.module, function.name)));
  add(CallFact::kDepth, absl::StrCat(call.depth()));
  add(CallFact::kSeq, absl::StrCat(calls_of_store_));
  add(CallFact::kStoreCalls, absl::StrCat(calls_of_store_ - 1));
  add(CallFact::kStoreId, Quote(facts_.store_id));
  add(CallFact::kTenant, Quote(facts_.tenant));
  add(CallFact::kModuleDigest, Quote(facts_.module_digest));
  add(CallFact::kModuleName, Quote(facts_.module_name));
  for (const PlannedJudge& planned : plan.judges) {
    planned.judge.DescribeFacts(moment, &fact_texts_);
  }
  if (anomaly_ != nullptr) anomaly_->DescribeScores(&fact_texts_);
}

}  // namespace callgate::policy
