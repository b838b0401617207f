// A token bucket: at most `burst` at once, `refill_per_second` in the long run.
//
// Time comes from the caller, who reads the clock once for all buckets of an
// event. Not thread-safe.

#ifndef CALLGATE_POLICY_TOKEN_BUCKET_H_
#define CALLGATE_POLICY_TOKEN_BUCKET_H_

#include <algorithm>

#include "absl/time/time.h"

namespace callgate::policy {

class TokenBucket {
 public:
  // Begins full. `refill_per_second` finite and at least 0, `burst` at least 1.
  TokenBucket(double refill_per_second, double burst)
      : refill_per_second_(refill_per_second), burst_(burst), tokens_(burst) {}

  // Takes a token. False, and nothing is taken, if there is none. A `now`
  // before the last one counts as the last one.
  bool Take(absl::Time now) {
    if (last_ == absl::InfinitePast()) {
      last_ = now;  // the first call finds the bucket full
    } else if (now > last_) {
      const double seconds = absl::ToDoubleSeconds(now - last_);
      tokens_ = std::min(burst_, tokens_ + seconds * refill_per_second_);
      last_ = now;
    }
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  double refill_per_second_;
  double burst_;
  double tokens_;
  absl::Time last_ = absl::InfinitePast();
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_TOKEN_BUCKET_H_
