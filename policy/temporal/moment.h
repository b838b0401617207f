// Time as temporal rules see it: nanoseconds of whatever clock the caller has,
// given with every event. Nothing here reads a clock.

#ifndef CALLGATE_POLICY_TEMPORAL_MOMENT_H_
#define CALLGATE_POLICY_TEMPORAL_MOMENT_H_

#include <cstdint>
#include <limits>

namespace callgate::policy::temporal {

using Moment = int64_t;
using Span = int64_t;

// Whether `past` lies at most `within` before `now`: a window includes both of
// its ends. Exact for all values; a past that is later than now counts as now.
inline bool IsWithin(Moment past, Moment now, Span within) {
  if (past >= now) return true;
  Span age;
  if (__builtin_sub_overflow(now, past, &age)) return false;
  return age <= within;
}

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_MOMENT_H_
