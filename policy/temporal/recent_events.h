// What happened lately, for conditions that compare a past event with the
// present one: `formerly`.
//
// A ring of the last `capacity` events. When one that is still young enough has
// to go for a new one, Add says so: whoever asks later may miss it. Memory
// grows with the events that there are, by doubling, up to that of `capacity`;
// after that nothing is allocated. One thread at a time.

#ifndef CALLGATE_POLICY_TEMPORAL_RECENT_EVENTS_H_
#define CALLGATE_POLICY_TEMPORAL_RECENT_EVENTS_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "policy/temporal/moment.h"
#include "runtime/check.h"

namespace callgate::policy::temporal {

// Payload is copied from a prototype.
template <typename Payload>
class RecentEvents {
 public:
  // `capacity` is at least one.
  RecentEvents(size_t capacity, Span within, const Payload& prototype)
      : capacity_(capacity), within_(within), prototype_(prototype) {
    CALLGATE_CHECK(capacity >= 1, "the loader bounds memory");
  }

  struct Added {
    // What to fill in; it holds what another event left there.
    Payload* payload = nullptr;
    // One that was still within the window was lost for it.
    bool lost = false;
  };

  // An event, not before the last one.
  Added Add(Moment now) {
    if (next_ == events_.size() && events_.size() < capacity_) {
      const size_t room =
          std::min(capacity_, std::max<size_t>(1, events_.size() * 2));
      events_.reserve(room);
      events_.resize(room, Event{0, prototype_});
    }
    // Memory grows before the ring has turned once, so it is in order.
    if (next_ == events_.size()) next_ = 0;
    Event& event = events_[next_];
    const bool lost = filled_ == capacity_ && IsWithin(event.at, now, within_);
    event.at = now;
    ++next_;
    if (filled_ < capacity_) ++filled_;
    return {&event.payload, lost};
  }

  // Whether `matches(payload)` of one within the window. The latest are asked
  // first.
  template <typename Matches>
  bool AnyWithin(Moment now, const Matches& matches) const {
    size_t at = next_;
    for (size_t i = 0; i < filled_; ++i) {
      at = at == 0 ? events_.size() - 1 : at - 1;
      const Event& event = events_[at];
      if (!IsWithin(event.at, now, within_)) return false;
      if (matches(event.payload)) return true;
    }
    return false;
  }

  void Clear() { next_ = filled_ = 0; }

  size_t size() const { return filled_; }
  // Events that there is memory for.
  size_t capacity() const { return events_.size(); }

 private:
  struct Event {
    Moment at = 0;
    Payload payload;
  };

  size_t capacity_;
  Span within_;
  Payload prototype_;
  std::vector<Event> events_;
  size_t next_ = 0;
  size_t filled_ = 0;
};

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_RECENT_EVENTS_H_
