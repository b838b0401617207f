#include "runtime/wasi/clocks.h"

#include <time.h>

#include <algorithm>
#include <utility>

namespace callgate {
namespace wasi {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;

uint64_t ReadHostClock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecondNs +
         static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint64_t HostRealtimeNs() { return ReadHostClock(CLOCK_REALTIME); }
uint64_t HostMonotonicNs() { return ReadHostClock(CLOCK_MONOTONIC); }

Clocks::Clocks(NanosecondClock realtime, NanosecondClock monotonic,
               uint64_t resolution_ns)
    : realtime_(std::move(realtime)),
      monotonic_(std::move(monotonic)),
      resolution_ns_(std::max<uint64_t>(resolution_ns, 1)),
      origin_(monotonic_()) {}

OutcomeOr<uint64_t> Clocks::Read(uint32_t clock_id) const {
  uint64_t now = 0;
  if (clock_id == clockid::kRealtime) {
    now = realtime_ns();
  } else if (clock_id == clockid::kMonotonic) {
    now = monotonic_ns();
  } else {
    return Errno::kInval;
  }
  return now - now % resolution_ns_;
}

OutcomeOr<uint64_t> Clocks::Resolution(uint32_t clock_id) const {
  if (clock_id != clockid::kRealtime && clock_id != clockid::kMonotonic) {
    return Errno::kInval;
  }
  return resolution_ns_;
}

}  // namespace wasi
}  // namespace callgate
