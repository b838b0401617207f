// What the policies said during one call, folded for its Outcome, on the way to
// whoever else listens.
//
// On the Session's turn only.

#ifndef CALLGATE_SERVER_VERDICT_TALLY_H_
#define CALLGATE_SERVER_VERDICT_TALLY_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/hook/decision.h"
#include "proto/callgate/v1/event_service.pb.h"
#include "server/outcome.h"

namespace callgate {

// The proto's word for a verdict.
v1::Verdict VerdictToProto(policy::Verdict verdict);
// Likewise for a severity.
v1::EventSeverity SeverityToProto(policy::Severity severity);

class VerdictTally final : public policy::DecisionSink {
 public:
  // `next` hears everything too; may be null, and outlives this.
  explicit VerdictTally(policy::DecisionSink* next) : next_(next) {}

  void OnDecision(const policy::DecisionRecord& decision) override;
  void OnDecisionDuration(absl::Duration duration) override;
  void OnRuleDuration(absl::string_view policy, absl::string_view rule,
                      absl::Duration duration, uint64_t weight) override;
  void OnEngineFault(const policy::StoreFacts& store,
                     absl::string_view message) override;
  void OnConditionFailed(const policy::StoreFacts& store,
                         absl::string_view policy, absl::string_view rule,
                         absl::string_view message) override;
  void OnRuleForgot(const policy::StoreFacts& store, absl::string_view policy,
                    absl::string_view rule) override;

  void OnRulePending(const policy::StoreFacts& store, absl::string_view policy,
                     absl::string_view rule, absl::string_view why) override;

  // Moves what was told since the last Take into `outcome`.
  void Take(Outcome& outcome);

  // Host calls answered with an errno since the last TakeAnswered, by import.
  using Answered = std::map<std::pair<std::string, std::string>, uint64_t>;
  Answered TakeAnswered() { return std::exchange(answered_, {}); }

 private:
  struct Entry {
    std::string import_module;  // raw bytes
    std::string import_name;
    VerdictCount count;  // its import names are still empty
  };
  Entry* Find(const policy::DecisionRecord& decision);

  policy::DecisionSink* const next_;
  std::vector<Entry> entries_;  // at most kVerdictCountsMax
  size_t last_ = 0;             // found last: floods repeat themselves
  uint64_t omitted_ = 0;
  Answered answered_;  // bounded by the module's imports
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_VERDICT_TALLY_H_
