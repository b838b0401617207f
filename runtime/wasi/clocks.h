// What time it is for a guest.
//
// The wall clock is the host's. The monotonic clock starts near zero when the
// Context is made, so that it does not tell how long the host has been up.
// Both can be made coarse. The two CPU-time clocks of WASI are not supported
// (kInval): the host's count the work of other guests too.

#ifndef CALLGATE_RUNTIME_WASI_CLOCKS_H_
#define CALLGATE_RUNTIME_WASI_CLOCKS_H_

#include <cstdint>
#include <functional>

#include "runtime/wasi/outcome.h"

namespace callgate {
namespace wasi {

// Nanoseconds.
using NanosecondClock = std::function<uint64_t()>;

// Since 1970, and since some moment in the past.
uint64_t HostRealtimeNs();
uint64_t HostMonotonicNs();

class Clocks {
 public:
  // Readings are rounded down to multiples of `resolution_ns`, at least 1.
  Clocks(NanosecondClock realtime, NanosecondClock monotonic,
         uint64_t resolution_ns);

  // kInval for clocks that are not supported.
  OutcomeOr<uint64_t> Read(uint32_t clock_id) const;
  OutcomeOr<uint64_t> Resolution(uint32_t clock_id) const;

  // Unrounded: for the host's own waiting.
  uint64_t realtime_ns() const { return realtime_(); }
  uint64_t monotonic_ns() const { return monotonic_() - origin_; }

 private:
  const NanosecondClock realtime_;
  const NanosecondClock monotonic_;
  const uint64_t resolution_ns_;
  const uint64_t origin_;
};

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_CLOCKS_H_
