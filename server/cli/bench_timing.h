// How long a call takes, by a clock that is coarser than short calls are.
//
// Calls are timed in batches of a size found at the start: the smallest power
// of two that lasts at least kBatchNs. A call that is longer than that is a
// batch of its own.

#ifndef CALLGATE_SERVER_CLI_BENCH_TIMING_H_
#define CALLGATE_SERVER_CLI_BENCH_TIMING_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace callgate::cli {

// Two readings of steady_clock cost some fifty nanoseconds: a two-thousandth.
inline constexpr int64_t kBatchNs = 100'000;

struct CallTimes {
  // Of one call, in nanoseconds: the batch's time over its calls.
  double min = 0;
  double median = 0;
  // Calls in a batch.
  uint64_t batch = 1;
};

// steady_clock's, in nanoseconds.
int64_t SteadyNs();

// Makes that many calls. False: one of them went wrong, and nothing more shall
// be timed.
using Calls = std::function<bool(uint64_t count)>;

// Finds the batch, then times `repeat` of them, at least one. Nothing when
// `calls` said false.
std::optional<CallTimes> TimeCalls(const Calls& calls, uint64_t repeat,
                                   const std::function<int64_t()>& now_ns);

// The middle one, or the mean of the two in the middle. At least one value.
double MedianOf(std::vector<double> values);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_BENCH_TIMING_H_
