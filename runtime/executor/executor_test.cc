#include "runtime/executor/executor.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "runtime/parker.h"
#include "runtime/parking_condition.h"

namespace callgate {
namespace {

std::unique_ptr<Executor> Start(size_t threads, size_t jobs_max) {
  Executor::Options options;
  options.threads = threads;
  options.jobs_max = jobs_max;
  auto started = Executor::Start(options);
  EXPECT_TRUE(started.ok()) << started.status();
  return *std::move(started);
}

// What a test waits for, on whatever it runs.
class Gate {
 public:
  void Wait() {
    std::unique_lock<std::mutex> lock(mu_);
    while (!open_) changed_.WaitUntil(lock, absl::InfiniteFuture());
  }
  void Open() {
    const std::lock_guard<std::mutex> lock(mu_);
    open_ = true;
    changed_.NotifyAll();
  }

 private:
  std::mutex mu_;
  ParkingCondition changed_;
  bool open_ = false;
};

// Until it is so; the test's own time limit is the only one.
template <typename Condition>
void Until(const Condition& condition) {
  while (!condition()) std::this_thread::yield();
}

// Something on the stack that is destroyed and that a wrong stack would break.
int SumOnStack(int depth) {
  volatile char room[256] = {};
  room[0] = static_cast<char>(depth % 7);
  return depth == 0 ? room[0] : room[0] + SumOnStack(depth - 1);
}

TEST(ExecutorTest, ThereIsNoParkerOnAnOrdinaryThread) {
  EXPECT_EQ(Parker::Current(), nullptr);
  const std::unique_ptr<Executor> executor = Start(1, 1);
  Parker* inside = nullptr;
  EXPECT_TRUE(executor->TryRun([&] { inside = Parker::Current(); }));
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_NE(inside, nullptr);
}

TEST(ExecutorTest, RefusesMoreJobsThanItMayHaveParkedOnesIncluded) {
  Gate gate;
  const std::unique_ptr<Executor> executor = Start(1, 2);
  EXPECT_TRUE(executor->TryRun([&] { gate.Wait(); }));
  EXPECT_TRUE(executor->TryRun([&] { gate.Wait(); }));
  EXPECT_FALSE(executor->TryRun([] { ADD_FAILURE() << "it was refused"; }));
  EXPECT_FALSE(executor->WaitUntilIdle(absl::Now()));
  gate.Open();
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_TRUE(executor->TryRun([] {}));
}

TEST(ExecutorTest, WhoHearsOfTheEndFindsThePlaceFree) {
  const std::unique_ptr<Executor> executor = Start(2, 1);
  for (int i = 0; i < 100; ++i) {
    std::promise<bool> idle;
    ASSERT_TRUE(executor->TryRun(
        [] {}, [&] { idle.set_value(executor->WaitUntilIdle(absl::Now())); }));
    EXPECT_TRUE(idle.get_future().get());
  }
}

TEST(ExecutorTest, DestructionWaitsForWhatIsParked) {
  Gate gate;
  std::atomic<int> done{0};
  std::thread opens;
  {
    const std::unique_ptr<Executor> executor = Start(2, 8);
    for (int i = 0; i < 8; ++i) {
      EXPECT_TRUE(executor->TryRun([&] {
        gate.Wait();
        ++done;
      }));
    }
    Until([&] { return executor->counts().parked == 8; });
    opens = std::thread([&] { gate.Open(); });
  }
  EXPECT_EQ(done, 8);
  opens.join();
}

TEST(ExecutorTest, AThousandThatWaitHoldNoThread) {
  constexpr size_t kJobs = 1'000;
  Gate gate;
  const std::unique_ptr<Executor> executor = Start(2, kJobs + 1);
  std::atomic<int> done{0};
  for (size_t i = 0; i < kJobs; ++i) {
    ASSERT_TRUE(executor->TryRun([&, i] {
      const int before = SumOnStack(static_cast<int>(i % 50));
      gate.Wait();
      EXPECT_EQ(SumOnStack(static_cast<int>(i % 50)), before);
      ++done;
    }));
  }
  Until([&] { return executor->counts().parked == kJobs; });
  // There is a thread for one more.
  std::promise<void> ran;
  EXPECT_TRUE(executor->TryRun([&] { ran.set_value(); }));
  ran.get_future().wait();
  EXPECT_EQ(done, 0);
  gate.Open();
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_EQ(done, kJobs);
}

TEST(ExecutorTest, AThousandDelaysPassAtOnce) {
  constexpr int kJobs = 1'000;
  const std::unique_ptr<Executor> executor = Start(2, kJobs);
  std::atomic<int> on_time{0};
  for (int i = 0; i < kJobs; ++i) {
    ASSERT_TRUE(executor->TryRun([&] {
      const auto until = Parker::Clock::now() + std::chrono::milliseconds(30);
      while (Parker::Clock::now() < until) Parker::Current()->Park(-1, until);
      ++on_time;
    }));
  }
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_EQ(on_time, kJobs);
}

TEST(ExecutorTest, WaitsForADescriptor) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const std::unique_ptr<Executor> executor = Start(1, 2);
  std::string got;
  EXPECT_TRUE(executor->TryRun([&] {
    char byte = 0;
    while (read(ends[0], &byte, 1) != 1) {
      Parker::Current()->Park(ends[0], Parker::Clock::time_point::max());
    }
    got.push_back(byte);
  }));
  Until([&] { return executor->counts().parked == 1; });
  EXPECT_EQ(executor->poller().size(), 1u);
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_EQ(got, "x");
  EXPECT_EQ(executor->poller().size(), 0u);
  close(ends[0]);
  close(ends[1]);
}

TEST(ExecutorTest, AWakeThatComesBeforeIsNotLost) {
  const std::unique_ptr<Executor> executor = Start(1, 1);
  EXPECT_TRUE(executor->TryRun([] {
    Parker* const parker = Parker::Current();
    parker->Wake();
    parker->Wake();
    parker->Park(-1, Parker::Clock::time_point::max());
  }));
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
}

TEST(ExecutorTest, AWakeLeavesNoWaitBehind) {
  const std::unique_ptr<Executor> executor = Start(2, 2);
  std::atomic<Parker*> parked{nullptr};
  std::atomic<bool> woken{false};
  EXPECT_TRUE(executor->TryRun([&] {
    parked = Parker::Current();
    while (!woken) {
      Parker::Current()->Park(-1, Parker::Clock::now() + std::chrono::hours(1));
    }
  }));
  Until([&] { return executor->counts().parked == 1; });
  EXPECT_EQ(executor->poller().size(), 1u);
  woken = true;
  parked.load()->Wake();
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_EQ(executor->poller().size(), 0u);
}

TEST(ExecutorTest, AParkedJobGoesOnOnAnyThread) {
  const std::unique_ptr<Executor> executor = Start(4, 64);
  std::mutex mu;
  std::set<pid_t> threads;
  std::atomic<bool> moved{false};
  std::atomic<int> changed_parkers{0};
  for (int i = 0; i < 64; ++i) {
    ASSERT_TRUE(executor->TryRun([&] {
      Parker* const self = Parker::Current();
      // Not std::this_thread::get_id, which compilers ask but once.
      const pid_t before = gettid();
      while (!moved) {
        self->Park(-1, Parker::Clock::now() + std::chrono::microseconds(50));
        if (Parker::Current() != self) ++changed_parkers;
        if (gettid() != before) moved = true;
      }
      const std::lock_guard<std::mutex> lock(mu);
      threads.insert(gettid());
    }));
  }
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_TRUE(moved);
  EXPECT_EQ(changed_parkers, 0);
  EXPECT_LE(threads.size(), 4u);
}

TEST(ExecutorTest, AJobThatNeverWaitsMakesRoomWhenItIsAsked) {
  Executor::Options options;
  options.threads = 1;
  options.turn = std::chrono::milliseconds(1);
  auto executor = Executor::Start(options);
  ASSERT_TRUE(executor.ok());
  std::atomic<bool> stop{false};
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE((*executor)->TryRun([&] {
      while (!stop) Parker::Current()->YieldIfDue();
    }));
  }
  // Behind three that do not end.
  EXPECT_TRUE((*executor)->TryRun([&] { stop = true; }));
  EXPECT_TRUE((*executor)->WaitUntilIdle(absl::InfiniteFuture()));
}

TEST(ExecutorTest, AYieldKeepsAWake) {
  Executor::Options options;
  options.threads = 1;
  options.turn = std::chrono::nanoseconds(0);
  auto executor = Executor::Start(options);
  ASSERT_TRUE(executor.ok());
  std::atomic<bool> other_ran{false};
  EXPECT_TRUE((*executor)->TryRun([&] {
    Parker::Current()->Wake();
    while (!other_ran) Parker::Current()->YieldIfDue();
    Parker::Current()->Park(-1, Parker::Clock::time_point::max());
  }));
  EXPECT_TRUE((*executor)->TryRun([&] { other_ran = true; }));
  EXPECT_TRUE((*executor)->WaitUntilIdle(absl::InfiniteFuture()));
}

TEST(ExecutorTest, FibersAndThreadsWaitForTheSameCondition) {
  const std::unique_ptr<Executor> executor = Start(2, 16);
  std::mutex mu;
  ParkingCondition changed;
  int turn = 0;  // guarded by mu
  constexpr int kRounds = 200;
  // Each waits for its own turn, again and again.
  const auto play = [&](int me, int players) {
    for (int round = 0; round < kRounds; ++round) {
      std::unique_lock<std::mutex> lock(mu);
      while (turn % players != me) {
        changed.WaitUntil(lock, absl::InfiniteFuture());
      }
      ++turn;
      changed.NotifyAll();
    }
  };
  for (int i = 1; i < 9; ++i) {
    ASSERT_TRUE(executor->TryRun([&play, i] { play(i, 9); }));
  }
  play(0, 9);
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_EQ(turn, 9 * kRounds);
}

TEST(ExecutorTest, AConditionGivesUpAtItsDeadlineOnBoth) {
  std::mutex mu;
  ParkingCondition never;
  const auto give_up = [&] {
    const absl::Time deadline = absl::Now() + absl::Milliseconds(3);
    std::unique_lock<std::mutex> lock(mu);
    while (absl::Now() < deadline) never.WaitUntil(lock, deadline);
  };
  give_up();
  const std::unique_ptr<Executor> executor = Start(1, 1);
  EXPECT_TRUE(executor->TryRun(give_up));
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
}

}  // namespace
}  // namespace callgate
