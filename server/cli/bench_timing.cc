#include "server/cli/bench_timing.h"

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace callgate::cli {

int64_t SteadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::optional<CallTimes> TimeCalls(const Calls& calls, uint64_t repeat,
                                   const std::function<int64_t()>& now_ns) {
  // A call of no time at all must not double for ever.
  constexpr uint64_t kBatchMax = uint64_t{1} << 24;
  CallTimes times;
  int64_t lasted = 0;
  const auto batch = [&] {
    const int64_t before = now_ns();
    const bool good = calls(times.batch);
    lasted = now_ns() - before;
    return good;
  };
  if (!batch()) return std::nullopt;
  while (lasted < kBatchNs && times.batch < kBatchMax) {
    times.batch *= 2;
    if (!batch()) return std::nullopt;
  }
  std::vector<double> each;
  for (uint64_t i = 0; i < std::max<uint64_t>(repeat, 1); ++i) {
    if (!batch()) return std::nullopt;
    each.push_back(static_cast<double>(lasted) /
                   static_cast<double>(times.batch));
  }
  times.min = *std::min_element(each.begin(), each.end());
  times.median = MedianOf(std::move(each));
  return times;
}

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle]
                                : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace callgate::cli
