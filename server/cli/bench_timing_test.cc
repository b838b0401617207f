#include "server/cli/bench_timing.h"

#include <gtest/gtest.h>

#include <vector>

namespace callgate::cli {
namespace {

// Calls of known lengths, and the clock that they turn.
struct Bench {
  int64_t now = 0;
  int64_t call_ns = 0;
  std::vector<uint64_t> batches;
  uint64_t fails_at_batch = ~uint64_t{0};

  std::optional<CallTimes> Time(uint64_t repeat) {
    return TimeCalls(
        [this](uint64_t count) {
          if (batches.size() == fails_at_batch) return false;
          batches.push_back(count);
          now += call_ns * static_cast<int64_t>(count);
          return true;
        },
        repeat, [this] { return now; });
  }
};

TEST(TimeCallsTest, TimesALongCallAlone) {
  Bench bench;
  bench.call_ns = kBatchNs;
  const auto times = bench.Time(3);
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->batch, 1u);
  EXPECT_EQ(times->min, kBatchNs);
  EXPECT_EQ(times->median, kBatchNs);
  // One to find the batch, then the repeats.
  EXPECT_EQ(bench.batches, std::vector<uint64_t>({1, 1, 1, 1}));
}

TEST(TimeCallsTest, TimesShortCallsTogether) {
  Bench bench;
  bench.call_ns = kBatchNs / 5;
  const auto times = bench.Time(2);
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->batch, 8u);
  EXPECT_EQ(times->min, static_cast<double>(kBatchNs) / 5);
  EXPECT_EQ(bench.batches, std::vector<uint64_t>({1, 2, 4, 8, 8, 8}));
}

TEST(TimeCallsTest, EndsWhereTheClockStandsStill) {
  Bench bench;
  const auto times = bench.Time(1);
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->min, 0);
}

TEST(TimeCallsTest, GivesLeastAndMedian) {
  Bench bench;
  const std::vector<int64_t> lengths = {kBatchNs, 5 * kBatchNs, 2 * kBatchNs,
                                        9 * kBatchNs, 3 * kBatchNs};
  size_t next = 0;
  const auto times = TimeCalls(
      [&](uint64_t) {
        bench.now += lengths[next++];
        return true;
      },
      4, [&] { return bench.now; });
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->min, 2 * kBatchNs);
  EXPECT_EQ(times->median, 4 * kBatchNs);
}

TEST(TimeCallsTest, StopsAtACallThatFails) {
  for (uint64_t at = 0; at < 4; ++at) {
    Bench bench;
    bench.call_ns = kBatchNs / 2;
    bench.fails_at_batch = at;
    EXPECT_FALSE(bench.Time(2).has_value()) << at;
    EXPECT_EQ(bench.batches.size(), at);
  }
}

TEST(MedianTest, IsTheMiddle) {
  EXPECT_EQ(MedianOf({7}), 7);
  EXPECT_EQ(MedianOf({9, 1, 5}), 5);
  EXPECT_EQ(MedianOf({4, 1, 2, 9}), 3);
}

}  // namespace
}  // namespace callgate::cli
