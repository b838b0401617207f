// Facts about the flow of events for whoever counts them. No answers are
// expected.

#ifndef CALLGATE_SERVER_EVENTS_EVENT_OBSERVER_H_
#define CALLGATE_SERVER_EVENTS_EVENT_OBSERVER_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "proto/callgate/v1/event_service.pb.h"

namespace callgate::events {

// Where events go. "log" is the event log itself: what is dropped there never
// reached any reader.
inline constexpr char kSinkLog[] = "log";
inline constexpr char kSinkWatch[] = "watch";
inline constexpr char kSinkAlertFile[] = "alert_file";

// Why an event did not arrive.
inline constexpr char kDropStoreBudget[] = "store_budget";
inline constexpr char kDropQueueFull[] = "queue_full";
inline constexpr char kDropWriteError[] = "write_error";
inline constexpr char kDropClosed[] = "closed";

// The reason of a gap for what went before the reader came; nothing of its own
// was dropped.
inline constexpr char kGapBeforeStart[] = "before_start";

// Called with the event log's lock held, on whatever thread caused the fact:
// must be quick and must not call the event log.
class EventObserver {
 public:
  virtual ~EventObserver() = default;

  // An event was offered, whatever became of it.
  virtual void OnEmitted(v1::EventKind kind) = 0;
  virtual void OnDelivered(absl::string_view sink, uint64_t count) = 0;
  virtual void OnDropped(absl::string_view sink, absl::string_view reason,
                         uint64_t count) = 0;
};

}  // namespace callgate::events

#endif  // CALLGATE_SERVER_EVENTS_EVENT_OBSERVER_H_
