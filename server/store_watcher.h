// What happens in one Store, told to the event log and the metrics.
//
// Called on the Store's turn; any thread may read. The event log, the
// suppressor, the metrics, the faults, explanations and `surge` outlive it; the
// last two may be null.

#ifndef CALLGATE_SERVER_STORE_WATCHER_H_
#define CALLGATE_SERVER_STORE_WATCHER_H_

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/hook/policy_violation.h"
#include "server/denial_surge.h"
#include "server/event_suppressor.h"
#include "server/events/event_log.h"
#include "server/explanations.h"
#include "server/internal_faults.h"
#include "server/metrics/metrics.h"
#include "server/session.h"

namespace callgate {

class StoreWatcher final : public SessionObserver {
 public:
  struct Facts {
    std::string tenant;
    std::string store_id;
    std::string module_digest;
  };
  // A verdict put the Store's module into quarantine. Called before the call
  // that it ended is answered; may wait for the disk.
  using QuarantineHandler =
      std::function<void(const policy::PolicyViolation& violation)>;

  StoreWatcher(Facts facts, events::EventLog& events,
               EventSuppressor& suppressor, metrics::Metrics& metrics,
               QuarantineHandler on_quarantine, InternalFaults& faults,
               Explanations* explanations = nullptr,
               DenialSurge* surge = nullptr);

  void OnDecision(const policy::DecisionRecord& decision) override;
  void OnDecisionDuration(absl::Duration duration) override;
  void OnRuleDuration(absl::string_view policy, absl::string_view rule,
                      absl::Duration duration, uint64_t weight) override;
  void OnEngineFault(const policy::StoreFacts& store,
                     absl::string_view message) override;
  void OnConditionFailed(const policy::StoreFacts& store,
                         absl::string_view policy, absl::string_view rule,
                         absl::string_view message) override;
  void OnRulePending(const policy::StoreFacts& store, absl::string_view policy,
                     absl::string_view rule, absl::string_view why) override;
  void OnRuleForgot(const policy::StoreFacts& store, absl::string_view policy,
                    absl::string_view rule) override;
  void OnCallEnded(const CallEnd& end) override;
  void OnNotLearned(const absl::Status& why) override;
  void OnLearned() override;
  void OnWatched(const absl::Status& status) override;

  // A lifecycle event of this Store.
  void PublishLifecycle(absl::string_view action, v1::EventSeverity severity,
                        absl::string_view message);

 private:
  v1::Event NewEvent(v1::EventKind kind, v1::EventSeverity severity) const;
  void CountMatches(const policy::DecisionRecord& decision);

  const Facts facts_;
  events::EventLog& events_;
  EventSuppressor& suppressor_;
  metrics::Metrics& metrics_;
  const QuarantineHandler on_quarantine_;
  InternalFaults& faults_;
  Explanations* const explanations_;  // may be null
  DenialSurge* const surge_;          // may be null

  // Of the Store's turn: the policies have told of a used-up budget.
  bool budget_told_ = false;
  bool quarantine_told_ = false;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_STORE_WATCHER_H_
