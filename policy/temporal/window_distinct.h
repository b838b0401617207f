// Whether `threshold` different values were seen within a window that ends now.
//
// The `threshold` values that were seen last decide it, so they are all that is
// kept, and the answer is exact for the values' fingerprints. One thread at a
// time; allocates when it is made.

#ifndef CALLGATE_POLICY_TEMPORAL_WINDOW_DISTINCT_H_
#define CALLGATE_POLICY_TEMPORAL_WINDOW_DISTINCT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "policy/temporal/moment.h"

namespace callgate::policy::temporal {

class WindowDistinct {
 public:
  // An event looks through them all.
  static constexpr size_t kThresholdMax = 1024;
  static constexpr size_t BytesFor(size_t threshold) {
    return sizeof(WindowDistinct) + threshold * sizeof(Seen);
  }

  // `threshold` from 1 to kThresholdMax.
  WindowDistinct(size_t threshold, Span within);

  // A value, not before the last one. `fingerprint` is a hash of it with a key
  // that guests do not know: who can make two values collide is counted once.
  // Whether it and the threshold - 1 other values that were seen last are all
  // within the window.
  bool OnValue(Moment now, uint64_t fingerprint);

  void Clear() { seen_.clear(); }

 private:
  struct Seen {
    uint64_t fingerprint;
    Moment last;
  };

  size_t threshold_;
  Span within_;
  std::vector<Seen> seen_;  // by when they were seen last, oldest first
};

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_WINDOW_DISTINCT_H_
