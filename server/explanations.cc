#include "server/explanations.h"

#include <utility>

#include "policy/import_name.h"

namespace callgate {
namespace {

using policy::ConditionAnswer;
using policy::DecisionRecord;

google::protobuf::Timestamp TimestampOf(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

google::protobuf::Duration DurationOf(absl::Duration duration) {
  google::protobuf::Duration message;
  message.set_seconds(
      absl::IDivDuration(duration, absl::Seconds(1), &duration));
  message.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return message;
}

std::string SubjectOf(const DecisionRecord& decision) {
  switch (decision.subject) {
    case DecisionRecord::Subject::kHostCall:
      return policy::FormatImportName(decision.import_module,
                                      decision.import_name);
    case DecisionRecord::Subject::kCallEnd:
      return "call_end";
    case DecisionRecord::Subject::kMemoryGrow:
      return "memory_grow";
    case DecisionRecord::Subject::kTableGrow:
      return "table_grow";
  }
  return "";
}

absl::string_view AnswerWord(ConditionAnswer::Kind kind) {
  switch (kind) {
    case ConditionAnswer::Kind::kFalse:
      return "false";
    case ConditionAnswer::Kind::kTrue:
      return "true";
    case ConditionAnswer::Kind::kFailed:
      return "failed";
    case ConditionAnswer::Kind::kExcepted:
      return "excepted";
  }
  return "";
}

v1::Explanation Explain(const DecisionRecord& decision, absl::Time now) {
  v1::Explanation out;
  out.set_decision_id(std::string(decision.decision_id));
  *out.mutable_time() = TimestampOf(now);
  out.set_tenant(decision.store->tenant);
  out.set_store(decision.store->store_id);
  out.set_module_digest(decision.store->module_digest);
  out.set_subject(SubjectOf(decision));
  out.set_verdict(std::string(policy::VerdictName(decision.verdict)));
  out.set_would_be_verdict(
      std::string(policy::VerdictName(decision.would_be_verdict)));
  out.set_policy(std::string(decision.policy));
  out.set_rule(std::string(decision.rule));
  out.set_message(std::string(decision.message));
  out.set_guest_errno(decision.guest_errno);
  if (decision.delay > absl::ZeroDuration()) {
    *out.mutable_delay() = DurationOf(decision.delay);
  }
  out.set_budget(std::string(decision.budget));
  for (const policy::RuleMatch& match : decision.matches) {
    v1::Explanation::Match* to = out.add_matches();
    to->set_policy(std::string(match.policy));
    to->set_policy_version(std::string(match.policy_version));
    to->set_rule(std::string(match.rule));
    to->set_verdict(std::string(policy::VerdictName(match.verdict)));
    to->set_mode(std::string(policy::ModeName(match.mode)));
    to->set_severity(std::string(policy::SeverityName(match.severity)));
    to->set_message(std::string(match.message));
    for (const std::string& tag : match.tags) to->add_tags(tag);
  }
  for (const policy::FactText& fact : decision.facts) {
    v1::Explanation::Fact* to = out.add_facts();
    to->set_name(fact.name);
    to->set_text(fact.text);
  }
  for (const policy::FactText& state : decision.state) {
    v1::Explanation::Fact* to = out.add_state();
    to->set_name(state.name);
    to->set_text(state.text);
  }
  for (const ConditionAnswer& answer : decision.answers) {
    v1::Explanation::Condition* to = out.add_conditions();
    to->set_policy(std::string(answer.policy));
    to->set_rule(std::string(answer.rule));
    to->set_answer(std::string(AnswerWord(answer.kind)));
    to->set_exception(std::string(answer.exception));
  }
  return out;
}

}  // namespace

void Explanations::Keep(const DecisionRecord& decision, absl::Time now) {
  if (decision.would_be_verdict == policy::Verdict::kAllow) return;
  auto entry = std::make_unique<Entry>();
  entry->id = std::string(decision.decision_id);
  Explain(decision, now).SerializeToString(&entry->bytes);
  const size_t size = entry->size();
  if (size > bytes_max_) return;
  const absl::MutexLock lock(&mu_);
  while (bytes_ + size > bytes_max_) {
    const Entry& oldest = *entries_.front();
    bytes_ -= oldest.size();
    by_id_.erase(oldest.id);
    entries_.pop_front();
  }
  bytes_ += size;
  by_id_[entry->id] = entry.get();
  entries_.push_back(std::move(entry));
}

std::optional<v1::Explanation> Explanations::Find(
    absl::string_view decision_id) const {
  v1::Explanation explanation;
  const absl::MutexLock lock(&mu_);
  const auto found = by_id_.find(decision_id);
  if (found == by_id_.end() ||
      !explanation.ParseFromString(found->second->bytes)) {
    return std::nullopt;
  }
  return explanation;
}

}  // namespace callgate
