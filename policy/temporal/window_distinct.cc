#include "policy/temporal/window_distinct.h"

#include <algorithm>

#include "runtime/check.h"

namespace callgate::policy::temporal {

WindowDistinct::WindowDistinct(size_t threshold, Span within)
    : threshold_(threshold), within_(within) {
  CALLGATE_CHECK(threshold >= 1 && threshold <= kThresholdMax,
                 "the loader bounds thresholds");
  seen_.reserve(threshold);
}

bool WindowDistinct::OnValue(Moment now, uint64_t fingerprint) {
  auto found = std::find_if(
      seen_.begin(), seen_.end(),
      [fingerprint](const Seen& s) { return s.fingerprint == fingerprint; });
  if (found == seen_.end()) {
    if (seen_.size() < threshold_) {
      seen_.push_back({fingerprint, now});
      found = seen_.end() - 1;
    } else {
      found = seen_.begin();
    }
  }
  *found = {fingerprint, now};
  std::rotate(found, found + 1, seen_.end());
  return seen_.size() == threshold_ &&
         IsWithin(seen_.front().last, now, within_);
}

}  // namespace callgate::policy::temporal
