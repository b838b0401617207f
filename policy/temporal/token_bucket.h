// A token bucket: at most `burst` at once, `refill_per_second` in the long run.
//
// It begins full. What all buckets of a rule have in common is given at each
// use, so that there can be many. One thread at a time; no allocation.

#ifndef CALLGATE_POLICY_TEMPORAL_TOKEN_BUCKET_H_
#define CALLGATE_POLICY_TEMPORAL_TOKEN_BUCKET_H_

#include <algorithm>
#include <cstdint>

#include "policy/temporal/moment.h"

namespace callgate::policy::temporal {

struct BucketShape {
  double refill_per_second = 0;  // finite, at least 0
  double burst = 1;              // at least 1
};

class TokenBucket {
 public:
  // Takes `cost` tokens. False, and nothing is taken, if there are fewer. A
  // `now` before the last one counts as the last one.
  bool Take(const BucketShape& shape, Moment now, double cost) {
    Refill(shape, now);
    if (tokens_ < cost) return false;
    tokens_ -= cost;
    return true;
  }

  // Takes `cost` tokens, also those that are still to come. How long it is
  // until the last of them will be there; never more than `longest`, by which
  // the bucket forgets what it is owed beyond. Only if it refills.
  Span TakeOwing(const BucketShape& shape, Moment now, double cost,
                 Span longest) {
    Refill(shape, now);
    const double per_nanosecond = shape.refill_per_second * 1e-9;
    tokens_ = std::max(tokens_ - cost,
                       -static_cast<double>(longest) * per_nanosecond);
    if (tokens_ >= 0) return 0;
    return std::min(longest, static_cast<Span>(-tokens_ / per_nanosecond));
  }

  // Of a key that goes for another: the other takes over what is left, so that
  // going through ever new keys yields no more than their buckets hold.
  void Clear() {}

 private:
  void Refill(const BucketShape& shape, Moment now) {
    if (!is_begun_) {
      is_begun_ = true;
      tokens_ = shape.burst;
      last_ = now;
      return;
    }
    if (now <= last_) return;
    Span passed;
    if (__builtin_sub_overflow(now, last_, &passed)) passed = INT64_MAX;
    tokens_ =
        std::min(shape.burst, tokens_ + static_cast<double>(passed) * 1e-9 *
                                            shape.refill_per_second);
    last_ = now;
  }

  double tokens_ = 0;
  Moment last_ = 0;
  bool is_begun_ = false;
};

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_TOKEN_BUCKET_H_
