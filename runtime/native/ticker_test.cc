#include "runtime/native/ticker.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace callgate::native {
namespace {

using std::chrono::steady_clock;

// Waits for at most ten seconds.
bool BecomesAllOnes(const std::atomic<uint64_t>& limit) {
  const auto end = steady_clock::now() + std::chrono::seconds(10);
  while (limit.load() != ~uint64_t{0}) {
    if (steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(TickerTest, AGuestIsAskedAgainAndAgain) {
  Ticker ticker;
  std::atomic<uint64_t> limit{1};
  Ticker::Guest guest(ticker, limit);
  guest.Begin();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(BecomesAllOnes(limit));
    limit = 1;
  }
  guest.End();
}

TEST(TickerTest, AGuestThatRestedIsAskedWhenItRunsAgain) {
  Ticker ticker(std::chrono::milliseconds(1));
  std::atomic<uint64_t> busy_limit{1};
  Ticker::Guest busy(ticker, busy_limit);
  std::atomic<uint64_t> limit{1};
  Ticker::Guest guest(ticker, limit);
  busy.Begin();
  for (int i = 0; i < 20; ++i) {
    guest.Begin();
    limit = 1;
    EXPECT_TRUE(BecomesAllOnes(limit));
    guest.End();
    // Two periods later, as another guest sees them, it is not known any more,
    // and is left alone.
    for (int period = 0; period < 2; ++period) {
      busy_limit = 1;
      EXPECT_TRUE(BecomesAllOnes(busy_limit));
    }
    limit = 1;
    busy_limit = 1;
    EXPECT_TRUE(BecomesAllOnes(busy_limit));
    EXPECT_EQ(limit.load(), 1u);
  }
  busy.End();
}

TEST(TickerTest, GuestsComeAndGoOnManyThreads) {
  Ticker ticker(std::chrono::milliseconds(0));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&ticker] {
      for (int i = 0; i < 200; ++i) {
        std::atomic<uint64_t> limit{1};
        Ticker::Guest guest(ticker, limit);
        for (int call = 0; call < 20; ++call) {
          guest.Begin();
          guest.End();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(TickerTest, EndsWhileAGuestIsKnown) {
  auto ticker = std::make_unique<Ticker>();
  std::atomic<uint64_t> limit{1};
  {
    Ticker::Guest guest(*ticker, limit);
    guest.Begin();
    guest.End();
  }
  ticker.reset();
}

}  // namespace
}  // namespace callgate::native
