#include "server/turn_queue.h"

#include <atomic>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "runtime/executor/executor.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

// Counts what the queue asks of its Store.
struct Counted {
  explicit Counted(size_t waiting_max)
      : queue(
            waiting_max, [this] { ++interrupts; }, [this] { ++resumes; }) {}
  std::atomic<int> interrupts{0};
  std::atomic<int> resumes{0};
  TurnQueue queue;
};

// Takes a turn on a thread of its own and keeps the status.
class Waiter {
 public:
  Waiter(TurnQueue& queue, absl::Time deadline,
         std::shared_ptr<CallTicket> ticket = nullptr)
      : thread_([this, &queue, deadline, ticket] {
          status_ = queue.Take(deadline, ticket);
          if (status_.ok()) queue.Give();
        }) {}
  absl::Status Join() {
    thread_.join();
    return status_;
  }

 private:
  absl::Status status_;
  std::thread thread_;
};

// Until `count` wait: the next one over the maximum is refused at once.
void AwaitFull(TurnQueue& queue) {
  while (true) {
    const absl::Status status = queue.Take(absl::InfinitePast(), nullptr);
    if (absl::IsResourceExhausted(status)) return;
    ASSERT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    std::this_thread::yield();
  }
}

TEST(TurnQueueTest, GivesTurnsOneAtATime) {
  Counted counted(64);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 200; ++turn) {
        ASSERT_TRUE(counted.queue.Take(absl::InfiniteFuture(), nullptr).ok());
        most = std::max(most.load(), ++inside);
        --inside;
        counted.queue.Give();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(counted.interrupts, 0);
}

TEST(TurnQueueTest, RefusesOneMoreThanMayWait) {
  Counted counted(1);
  ASSERT_TRUE(counted.queue.Take(absl::InfiniteFuture(), nullptr).ok());
  Waiter waiter(counted.queue, absl::InfiniteFuture());
  AwaitFull(counted.queue);
  const absl::Status status =
      counted.queue.Take(absl::InfiniteFuture(), nullptr);
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(ReasonOf(status), reason::kQueueFull);
  counted.queue.Give();
  EXPECT_TRUE(waiter.Join().ok());
}

TEST(TurnQueueTest, EndsTheWaitingAtTheDeadline) {
  Counted counted(4);
  ASSERT_TRUE(counted.queue.Take(absl::InfiniteFuture(), nullptr).ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      counted.queue.Take(absl::Now() + absl::Milliseconds(1), nullptr)));
  counted.queue.Give();
  EXPECT_TRUE(counted.queue.Take(absl::InfiniteFuture(), nullptr).ok());
  counted.queue.Give();
}

TEST(TurnQueueTest, CancelInterruptsOnlyTheTurnOfItsTicket) {
  Counted counted(4);
  const auto mine = std::make_shared<CallTicket>();
  const auto other = std::make_shared<CallTicket>();
  ASSERT_TRUE(counted.queue.Take(absl::InfiniteFuture(), mine).ok());
  counted.queue.Cancel(other);
  EXPECT_EQ(counted.interrupts, 0);
  counted.queue.Cancel(mine);
  counted.queue.Cancel(mine);
  EXPECT_EQ(counted.interrupts, 1);
  EXPECT_TRUE(counted.queue.cancelled());
  counted.queue.Give();
  EXPECT_EQ(counted.resumes, 1);
  // The other never begins, and a ticket whose turn is over is nobody's.
  EXPECT_TRUE(
      absl::IsCancelled(counted.queue.Take(absl::InfiniteFuture(), other)));
  ASSERT_TRUE(counted.queue.Take(absl::InfiniteFuture(), nullptr).ok());
  counted.queue.Cancel(mine);
  EXPECT_EQ(counted.interrupts, 1);
  counted.queue.Give();
}

TEST(TurnQueueTest, CancelEndsTheWaiting) {
  Counted counted(1);
  const auto ticket = std::make_shared<CallTicket>();
  ASSERT_TRUE(counted.queue.Take(absl::InfiniteFuture(), nullptr).ok());
  Waiter waiter(counted.queue, absl::InfiniteFuture(), ticket);
  AwaitFull(counted.queue);
  counted.queue.Cancel(ticket);
  EXPECT_TRUE(absl::IsCancelled(waiter.Join()));
  counted.queue.Give();
}

TEST(TurnQueueTest, CloseInterruptsAndRefusesEverybody) {
  Counted counted(1);
  ASSERT_TRUE(counted.queue.Take(absl::InfiniteFuture(), nullptr).ok());
  Waiter waiter(counted.queue, absl::InfiniteFuture());
  AwaitFull(counted.queue);
  EXPECT_TRUE(counted.queue.Close("first"));
  EXPECT_FALSE(counted.queue.Close("second"));
  EXPECT_EQ(counted.queue.close_reason(), "first");
  EXPECT_EQ(counted.interrupts, 1);
  EXPECT_EQ(ReasonOf(waiter.Join()), reason::kStoreEnded);
  counted.queue.Give();
  EXPECT_EQ(counted.resumes, 0);  // an ended Store stays interrupted
  const absl::Status status =
      counted.queue.Take(absl::InfiniteFuture(), nullptr);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_NE(status.message().find("first"), absl::string_view::npos);
}

TEST(TurnQueueTest, WhoWaitsOnAFiberHoldsNoThread) {
  Counted counted(8);
  Executor::Options options;
  options.threads = 1;
  auto executor = Executor::Start(options);
  ASSERT_TRUE(executor.ok());
  ASSERT_TRUE(counted.queue.Take(absl::InfiniteFuture(), nullptr).ok());
  std::atomic<int> turns{0};
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE((*executor)->TryRun([&] {
      ASSERT_TRUE(counted.queue.Take(absl::InfiniteFuture(), nullptr).ok());
      ++turns;
      counted.queue.Give();
    }));
  }
  const auto ticket = std::make_shared<CallTicket>();
  absl::Status cancelled;
  absl::Status late;
  ASSERT_TRUE((*executor)->TryRun(
      [&] { cancelled = counted.queue.Take(absl::InfiniteFuture(), ticket); }));
  ASSERT_TRUE((*executor)->TryRun([&] {
    late = counted.queue.Take(absl::Now() + absl::Milliseconds(2), nullptr);
  }));
  // The last comes to its turn on the one thread, behind five that wait.
  ASSERT_TRUE((*executor)->TryRun([&] { counted.queue.Cancel(ticket); }));
  while ((*executor)->counts().parked != 3) std::this_thread::yield();
  EXPECT_EQ(turns, 0);
  counted.queue.Give();
  EXPECT_TRUE((*executor)->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_EQ(turns, 3);
  EXPECT_TRUE(absl::IsCancelled(cancelled)) << cancelled;
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
}

}  // namespace
}  // namespace callgate
