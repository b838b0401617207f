#include "runtime/parker.h"

#include <algorithm>

#include "absl/time/clock.h"

namespace callgate {
namespace {

thread_local Parker* t_parker = nullptr;

}  // namespace

// Never inlined: whoever calls them twice may be on another thread the second
// time, and a compiler keeps the address of a thread's variable.
__attribute__((noinline)) Parker* Parker::Current() { return t_parker; }

__attribute__((noinline)) void Parker::SetCurrent(Parker* parker) {
  t_parker = parker;
}

Parker::Clock::time_point Parker::SteadyTime(absl::Time when) {
  const absl::Duration left = when - absl::Now();
  if (left > absl::Hours(24 * 366)) return Clock::time_point::max();
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(
             absl::ToChronoNanoseconds(std::max(left, absl::ZeroDuration())));
}

}  // namespace callgate
