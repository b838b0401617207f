// What happened lately, for conditions that compare a past event with the
// present one: `formerly`.
//
// A ring of the last `capacity` events. When one that is still young enough has
// to go for a new one, Add says so: whoever asks later may miss it. One thread
// at a time; allocates when it is made, and if copying a Payload does.

#ifndef CALLGATE_POLICY_TEMPORAL_RECENT_EVENTS_H_
#define CALLGATE_POLICY_TEMPORAL_RECENT_EVENTS_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "policy/temporal/moment.h"
#include "runtime/check.h"

namespace callgate::policy::temporal {

template <typename Payload>
class RecentEvents {
 public:
  // `capacity` is at least one.
  RecentEvents(size_t capacity, Span within)
      : within_(within), events_(capacity) {
    CALLGATE_CHECK(capacity >= 1, "the loader bounds memory");
  }

  // An event, not before the last one. Whether one that was still within the
  // window was lost for it.
  bool Add(Moment now, Payload payload) {
    Event& event = events_[next_];
    const bool lost =
        filled_ == events_.size() && IsWithin(event.at, now, within_);
    event.at = now;
    event.payload = std::move(payload);
    next_ = next_ + 1 == events_.size() ? 0 : next_ + 1;
    if (filled_ < events_.size()) ++filled_;
    return lost;
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

 private:
  struct Event {
    Moment at = 0;
    Payload payload{};
  };

  Span within_;
  std::vector<Event> events_;
  size_t next_ = 0;
  size_t filled_ = 0;
};

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_RECENT_EVENTS_H_
