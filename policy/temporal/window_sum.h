// Whether amounts within a window that ends now reach a threshold.
//
// An exact answer would need every amount. Time is cut into parts, a little
// more than kParts of which make a window, and amounts leave a part at a time:
// each counts for at least `within` and for less than longest(), about a
// thirtieth more. So nothing that reaches the threshold is missed. One thread
// at a time; no allocation.

#ifndef CALLGATE_POLICY_TEMPORAL_WINDOW_SUM_H_
#define CALLGATE_POLICY_TEMPORAL_WINDOW_SUM_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "policy/temporal/moment.h"

namespace callgate::policy::temporal {

class WindowSum {
 public:
  static constexpr size_t kParts = 64;

  static constexpr Span kWithinMax = INT64_MAX / 4;

  // `within` from 0 to kWithinMax.
  WindowSum(uint64_t threshold, Span within);

  // An amount, not before the last one. Whether the threshold is reached with
  // it. Sums end at the largest number instead of wrapping.
  bool OnAmount(Moment now, uint64_t amount);
  // The same without adding one.
  uint64_t SumAt(Moment now);

  // An amount counts for less than this.
  Span longest() const;

  void Clear();

 private:
  void Advance(Moment now);

  uint64_t threshold_;
  Span part_;  // how long a part is
  // Parts by number, of which kParts + 1 can touch a window.
  std::array<uint64_t, kParts + 1> sums_{};
  int64_t current_ = 0;  // the number of the last part
  bool is_empty_ = true;
};

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_WINDOW_SUM_H_
