#include "server/verdict_tally.h"

#include "server/events/escape.h"

namespace callgate {
namespace {

bool SameVerdict(const VerdictCount& count,
                 const policy::DecisionRecord& decision) {
  return count.rule == decision.rule && count.policy == decision.policy &&
         count.verdict == VerdictToProto(decision.verdict) &&
         count.guest_errno == decision.guest_errno;
}

}  // namespace

v1::Verdict VerdictToProto(policy::Verdict verdict) {
  switch (verdict) {
    case policy::Verdict::kAllow:
      return v1::VERDICT_ALLOW;
    case policy::Verdict::kLog:
      return v1::VERDICT_LOG;
    case policy::Verdict::kAlert:
      return v1::VERDICT_ALERT;
    case policy::Verdict::kThrottle:
      return v1::VERDICT_THROTTLE;
    case policy::Verdict::kDeny:
      return v1::VERDICT_DENY;
    case policy::Verdict::kTrap:
      return v1::VERDICT_TRAP;
    case policy::Verdict::kKillStore:
      return v1::VERDICT_KILL_STORE;
    case policy::Verdict::kQuarantineModule:
      return v1::VERDICT_QUARANTINE_MODULE;
  }
  return v1::VERDICT_UNSPECIFIED;
}

VerdictTally::Entry* VerdictTally::Find(
    const policy::DecisionRecord& decision) {
  const auto matches = [&decision](const Entry& entry) {
    return SameVerdict(entry.count, decision) &&
           entry.import_name == decision.import_name &&
           entry.import_module == decision.import_module;
  };
  if (last_ < entries_.size() && matches(entries_[last_])) {
    return &entries_[last_];
  }
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (!matches(entries_[i])) continue;
    last_ = i;
    return &entries_[i];
  }
  return nullptr;
}

void VerdictTally::OnDecision(const policy::DecisionRecord& decision) {
  if (Entry* found = Find(decision); found != nullptr) {
    ++found->count.count;
  } else if (entries_.size() == kVerdictCountsMax) {
    ++omitted_;
  } else {
    Entry entry;
    entry.import_module = std::string(decision.import_module);
    entry.import_name = std::string(decision.import_name);
    entry.count.policy = std::string(decision.policy);
    entry.count.rule = std::string(decision.rule);
    entry.count.verdict = VerdictToProto(decision.verdict);
    if (decision.would_be_verdict != decision.verdict) {
      entry.count.would_be_verdict = VerdictToProto(decision.would_be_verdict);
    }
    entry.count.message = std::string(decision.message);
    entry.count.guest_errno = decision.guest_errno;
    entry.count.count = 1;
    entries_.push_back(std::move(entry));
  }
  if (decision.subject == policy::DecisionRecord::Subject::kHostCall &&
      decision.verdict == policy::Verdict::kDeny) {
    ++answered_[{std::string(decision.import_module),
                 std::string(decision.import_name)}];
  }
  if (next_ != nullptr) next_->OnDecision(decision);
}

void VerdictTally::OnDecisionDuration(absl::Duration duration) {
  if (next_ != nullptr) next_->OnDecisionDuration(duration);
}

void VerdictTally::OnEngineFault(const policy::StoreFacts& store,
                                 absl::string_view message) {
  if (next_ != nullptr) next_->OnEngineFault(store, message);
}

void VerdictTally::OnConditionFailed(const policy::StoreFacts& store,
                                     absl::string_view policy,
                                     absl::string_view rule,
                                     absl::string_view message) {
  if (next_ != nullptr) {
    next_->OnConditionFailed(store, policy, rule, message);
  }
}

void VerdictTally::OnRuleForgot(const policy::StoreFacts& store,
                                absl::string_view policy,
                                absl::string_view rule) {
  if (next_ != nullptr) next_->OnRuleForgot(store, policy, rule);
}

void VerdictTally::Take(Outcome& outcome) {
  outcome.verdicts.reserve(entries_.size());
  for (Entry& entry : entries_) {
    entry.count.import_module = events::EscapeText(entry.import_module);
    entry.count.import_name = events::EscapeText(entry.import_name);
    outcome.verdicts.push_back(std::move(entry.count));
  }
  outcome.verdicts_omitted = omitted_;
  entries_.clear();
  last_ = 0;
  omitted_ = 0;
}

}  // namespace callgate
