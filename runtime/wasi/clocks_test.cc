#include "runtime/wasi/clocks.h"

#include "gtest/gtest.h"

namespace callgate {
namespace wasi {
namespace {

TEST(ClocksTest, RoundsDownToItsResolution) {
  uint64_t now = 1'000'123;
  const auto clock = [&now] { return now; };
  const Clocks clocks(clock, clock, 1'000);
  EXPECT_EQ(*clocks.Read(clockid::kRealtime), 1'000'000u);
  EXPECT_EQ(*clocks.Resolution(clockid::kRealtime), 1'000u);
  EXPECT_EQ(*clocks.Resolution(clockid::kMonotonic), 1'000u);
  uint64_t last = *clocks.Read(clockid::kMonotonic);
  for (int i = 0; i < 5'000; ++i) {
    ++now;
    const uint64_t next = *clocks.Read(clockid::kMonotonic);
    EXPECT_TRUE(next == last || next == last + 1'000) << next;
    last = next;
  }
  EXPECT_EQ(clocks.realtime_ns(), now);
}

TEST(ClocksTest, StartsTheMonotonicClockNearZero) {
  uint64_t now = 5'000'000;
  const auto clock = [&now] { return now; };
  const Clocks clocks(clock, clock, 1);
  EXPECT_EQ(*clocks.Read(clockid::kMonotonic), 0u);
  now += 7;
  EXPECT_EQ(*clocks.Read(clockid::kMonotonic), 7u);
  EXPECT_EQ(*clocks.Read(clockid::kRealtime), 5'000'007u);
}

TEST(ClocksTest, RefusesClocksThatCountOtherGuests) {
  const Clocks clocks(HostRealtimeNs, HostMonotonicNs, 1);
  for (const uint32_t id : {2u, 3u, 4u, ~0u}) {
    EXPECT_EQ(clocks.Read(id).failure().number(), Errno::kInval) << id;
    EXPECT_EQ(clocks.Resolution(id).failure().number(), Errno::kInval) << id;
  }
}

TEST(ClocksTest, ReadsTheHost) {
  const Clocks clocks(HostRealtimeNs, HostMonotonicNs, 1);
  // After 2020.
  EXPECT_GT(*clocks.Read(clockid::kRealtime), 1'577'836'800'000'000'000u);
  const uint64_t first = *clocks.Read(clockid::kMonotonic);
  EXPECT_LE(first, *clocks.Read(clockid::kMonotonic));
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
