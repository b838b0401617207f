// Events that policies fold (policy/hook/suppression.h), told to the event log:
// an event for each group when its period is over, with the number that was
// held back.
//
// One for all Stores, since groups may go across them. Any thread; the event
// log outlives it. Sweep is to be called about once a second.

#ifndef CALLGATE_SERVER_EVENT_SUPPRESSOR_H_
#define CALLGATE_SERVER_EVENT_SUPPRESSOR_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/hook/decision.h"
#include "policy/hook/suppression.h"
#include "server/events/event_log.h"

namespace callgate {

class EventSuppressor {
 public:
  // `clock` is monotonic, from any origin.
  EventSuppressor(events::EventLog& events, absl::Time (*clock)());
  explicit EventSuppressor(events::EventLog& events);
  EventSuppressor(const EventSuppressor&) = delete;
  EventSuppressor& operator=(const EventSuppressor&) = delete;

  // Whether the decision is an event of its own.
  bool Tells(const policy::DecisionRecord& decision) {
    return suppressor_.Tells(decision, clock_());
  }

  // Tells of periods that are over.
  void Sweep();
  // Tells of what one Store's groups have held back: it has ended.
  void StoreEnded(absl::string_view store_id);
  // Tells of everything: the daemon ends.
  void TellAll();

 private:
  void Publish(const std::vector<policy::HeldBack>& all);

  events::EventLog& events_;
  absl::Time (*const clock_)();
  policy::Suppressor suppressor_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_EVENT_SUPPRESSOR_H_
