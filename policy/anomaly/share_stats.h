// How large the share of an import was among a Store's recent calls, whenever
// it was called: number, mean, variance and maximum. A share is an average over
// the calls, each weighing (1 - w) times what the next one weighs; between 0
// and 1.

#ifndef CALLGATE_POLICY_ANOMALY_SHARE_STATS_H_
#define CALLGATE_POLICY_ANOMALY_SHARE_STATS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace callgate::policy::anomaly {

struct ShareStats {
  uint64_t samples = 0;
  double mean = 0;
  double squares = 0;  // of the differences from the mean, added up
  double max = 0;

  // Welford's.
  void Add(double share) {
    ++samples;
    const double difference = share - mean;
    mean += difference / static_cast<double>(samples);
    squares += difference * (share - mean);
    max = std::max(max, share);
  }
  void Add(const ShareStats& other) {
    if (other.samples == 0) return;
    const auto mine = static_cast<double>(samples);
    const auto theirs = static_cast<double>(other.samples);
    const double both = mine + theirs;
    const double difference = other.mean - mean;
    squares += other.squares + difference * difference * mine * theirs / both;
    mean += difference * theirs / both;
    samples += other.samples;
    max = std::max(max, other.max);
  }
  double deviation() const {
    return samples < 2 ? 0
                       : std::sqrt(squares / static_cast<double>(samples - 1));
  }
};

// A deviation counts as at least this: an import that was always alone has
// none.
inline constexpr double kShareDeviationMin = 0.02;

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_SHARE_STATS_H_
