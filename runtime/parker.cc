#include "runtime/parker.h"

#include <time.h>

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

std::chrono::nanoseconds Parker::ProcessorTimeOfThread() {
  timespec time{};
  // Cannot fail: the clock is there on every Linux.
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) +
         std::chrono::nanoseconds(time.tv_nsec);
}

Parker::Clock::time_point Parker::SteadyTime(absl::Time when) {
  const absl::Duration left = when - absl::Now();
  if (left > absl::Hours(24 * 366)) return Clock::time_point::max();
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(
             absl::ToChronoNanoseconds(std::max(left, absl::ZeroDuration())));
}

}  // namespace callgate
