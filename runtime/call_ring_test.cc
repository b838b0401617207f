#include "runtime/call_ring.h"

#include <chrono>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/call_hook.h"

namespace callgate {
namespace {

using Outcome = CallRing::Outcome;

TEST(CallRingTest, KeepsTheNewestInTheirOrder) {
  FunctionIdentity function;
  CallRing ring;
  EXPECT_TRUE(ring.Calls().empty());
  for (uint32_t i = 0; i < 100; ++i) {
    ring.End(ring.Begin(function, i), Outcome::kReturned, i * 2);
  }
  const std::vector<CallRing::Call> calls = ring.Calls();
  ASSERT_EQ(calls.size(), CallRing::kCallsMax);
  EXPECT_EQ(ring.noted(), 100u);
  for (uint32_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i].function, &function);
    EXPECT_EQ(calls[i].number, 36u + i);
    EXPECT_EQ(calls[i].site, 36 + i);
    EXPECT_EQ(calls[i].result, 2 * (36 + i));
    EXPECT_EQ(calls[i].outcome, Outcome::kReturned);
    EXPECT_GE(calls[i].time, calls[i == 0 ? 0 : i - 1].time);
  }
}

TEST(CallRingTest, ACallThatIsForgottenIsNotMistakenForAnother) {
  FunctionIdentity outer;
  FunctionIdentity inner;
  CallRing ring;
  const uint64_t first = ring.Begin(outer, 1);
  for (size_t i = 0; i < CallRing::kCallsMax; ++i) {
    ring.End(ring.Begin(inner, 2), Outcome::kReturned, 3);
  }
  ring.End(first, Outcome::kStopped, 9);
  for (const CallRing::Call& call : ring.Calls()) {
    EXPECT_EQ(call.function, &inner);
    EXPECT_EQ(call.outcome, Outcome::kReturned);
    EXPECT_EQ(call.result, 3u);
  }
}

TEST(CallRingTest, TheCallThatIsUnderWayIsTheNewest) {
  FunctionIdentity function;
  CallRing ring;
  ring.End(ring.Begin(function, 1), Outcome::kAnswered, 76);
  ring.Begin(function, 2);
  const std::vector<CallRing::Call> calls = ring.Calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].outcome, Outcome::kAnswered);
  EXPECT_EQ(calls[0].result, 76u);
  EXPECT_EQ(calls[1].outcome, Outcome::kRunning);
}

// Between two readings of the clock that everybody else has.
TEST(CallRingTest, TimesAreThoseOfTheMonotonicClock) {
  using Clock = std::chrono::steady_clock;
  FunctionIdentity function;
  CallRing ring;
  // Until there is something to measure the ticks by.
  const auto begin = Clock::now();
  while (Clock::now() - begin < std::chrono::milliseconds(20)) {
  }
  const auto before = Clock::now().time_since_epoch();
  ring.Begin(function, 1);
  const auto after = Clock::now().time_since_epoch();
  while (Clock::now() - begin < std::chrono::milliseconds(40)) {
  }
  const std::vector<CallRing::Call> calls = ring.Calls();
  ASSERT_EQ(calls.size(), 1u);
  constexpr auto kSlack = std::chrono::milliseconds(2);
  EXPECT_GE(calls[0].time, before - kSlack);
  EXPECT_LE(calls[0].time, after + kSlack);
}

}  // namespace
}  // namespace callgate
