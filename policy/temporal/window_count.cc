#include "policy/temporal/window_count.h"

#include "runtime/check.h"

namespace callgate::policy::temporal {

WindowCount::WindowCount(size_t threshold, Span within)
    : within_(within), times_(threshold) {
  CALLGATE_CHECK(threshold >= 1 && threshold <= kThresholdMax,
                 "the loader bounds thresholds");
}

void WindowCount::Clear() { next_ = filled_ = 0; }

bool WindowCount::OnEvent(Moment now) {
  times_[next_] = now;
  next_ = next_ + 1 == times_.size() ? 0 : next_ + 1;
  if (filled_ < times_.size()) ++filled_;
  // The next to be overwritten is the oldest of the last `threshold`.
  return filled_ == times_.size() && IsWithin(times_[next_], now, within_);
}

}  // namespace callgate::policy::temporal
