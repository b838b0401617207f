#include "policy/anomaly_rule.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "policy/call_facts.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

using expression::Evaluation;
using expression::Fact;
using expression::Schema;
using expression::Type;
using expression::TypeKind;
using expression::Value;

int64_t ToInt(uint64_t number) {
  return static_cast<int64_t>(
      std::min<uint64_t>(number, std::numeric_limits<int64_t>::max()));
}

void DeclareScore(Schema* schema) {
  const auto declare = [schema](absl::string_view name, TypeKind type) {
    Fact fact;
    fact.name = std::string(name);
    fact.type = type;
    const auto slot = schema->Declare(std::move(fact));
    CALLGATE_CHECK(slot.ok(), "names of facts are names");
  };
  // In the order of ScoreFact.
  declare("score.frame", TypeKind::kInt);
  declare("score.novel", TypeKind::kBool);
  declare("score.strange", TypeKind::kInt);
  declare("score.recent", TypeKind::kInt);
  declare("score.total", TypeKind::kInt);
  declare("score.calls", TypeKind::kInt);
  declare("score.novelty", TypeKind::kDouble);
  declare("score.share_z", TypeKind::kDouble);
}

}  // namespace

Schema ScoreSchema() {
  Schema schema;
  DeclareScore(&schema);
  CALLGATE_CHECK(schema.facts().size() == kScoreFactCount, "every fact");
  return schema;
}

Schema AnomalyExceptionSchema() {
  Schema schema;
  DeclareCallFacts(nullptr, &schema);
  DeclareScore(&schema);
  CALLGATE_CHECK(schema.facts().size() == kCallFactCount + kScoreFactCount,
                 "every fact");
  return schema;
}

bool IsAnomalyExceptionFact(absl::string_view name) {
  static const auto* const schema = new Schema(AnomalyExceptionSchema());
  const std::optional<uint32_t> slot = schema->FindSlot(name);
  if (!slot) return false;
  // Values are compared for being the same, which moments and fractions are
  // not; and how a call ends is known too late.
  const Type& type = schema->facts()[*slot].type;
  return (type.Is(TypeKind::kInt) || type.Is(TypeKind::kString) ||
          type.Is(TypeKind::kBool)) &&
         *slot != SlotOf(CallFact::kDenied) &&
         !absl::StartsWith(name, "result.");
}

std::string AnomalyExceptionFactNames() {
  std::vector<std::string> names;
  const Schema schema = AnomalyExceptionSchema();
  for (const Fact& fact : schema.facts()) {
    if (IsAnomalyExceptionFact(fact.name)) names.push_back(fact.name);
  }
  return absl::StrJoin(names, ", ");
}

ScoreFacts FactsOf(const anomaly::Score& score) {
  return {Value::Int(score.frame),        Value::Bool(score.novel),
          Value::Int(score.strange),      Value::Int(score.recent),
          Value::Int(ToInt(score.total)), Value::Int(ToInt(score.calls)),
          Value::Double(score.novelty()), Value::Double(score.share_z)};
}

ScoreCondition::ScoreCondition(
    std::shared_ptr<const expression::Program> program)
    : program_(std::move(program)) {
  const std::vector<uint32_t> read = program_->slots_read();
  const bool grows = std::any_of(read.begin(), read.end(), [](uint32_t slot) {
    return slot == static_cast<uint32_t>(ScoreFact::kTotal) ||
           slot == static_cast<uint32_t>(ScoreFact::kCalls) ||
           slot == static_cast<uint32_t>(ScoreFact::kNovelty);
  });
  if (grows) return;
  expression::Scratch scratch;
  is_no_if_usual_ = Judge(anomaly::Score(), &scratch, nullptr) == Answer::kNo;
}

ScoreCondition::Answer ScoreCondition::Judge(const anomaly::Score& score,
                                             expression::Scratch* scratch,
                                             std::string* why) const {
  const ScoreFacts facts = FactsOf(score);
  const Evaluation holds = program_->Evaluate(facts, scratch);
  if (holds.ok()) return holds.value.as_bool() ? Answer::kYes : Answer::kNo;
  if (why != nullptr) *why = program_->Describe(holds.value);
  return Answer::kFailed;
}

}  // namespace callgate::policy
