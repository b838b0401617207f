// Whether `threshold` events happened within a window that ends now.
//
// The last `threshold` events decide it, so their times are all that is kept,
// and the answer is exact. One thread at a time; allocates when it is made.

#ifndef CALLGATE_POLICY_TEMPORAL_WINDOW_COUNT_H_
#define CALLGATE_POLICY_TEMPORAL_WINDOW_COUNT_H_

#include <cstddef>
#include <vector>

#include "policy/temporal/moment.h"

namespace callgate::policy::temporal {

class WindowCount {
 public:
  static constexpr size_t kThresholdMax = 1 << 16;
  static constexpr size_t BytesFor(size_t threshold) {
    return sizeof(WindowCount) + threshold * sizeof(Moment);
  }

  // `threshold` from 1 to kThresholdMax.
  WindowCount(size_t threshold, Span within);

  // An event, not before the last one. Whether it and the threshold - 1 events
  // before it are all within the window.
  bool OnEvent(Moment now);

  void Clear();

 private:
  Span within_;
  std::vector<Moment> times_;  // a ring
  size_t next_ = 0;
  size_t filled_ = 0;
};

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_WINDOW_COUNT_H_
