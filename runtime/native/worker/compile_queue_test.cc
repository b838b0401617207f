#include "runtime/native/worker/compile_queue.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace callgate::native {
namespace {

using Ticket = CompileQueue::Ticket;

const Ticket kFore = {Priority::kForeground, "", 0};
const Ticket kBack = {Priority::kBackground, "", 0};

Ticket Of(const std::string& account, uint64_t memory_bytes = 0,
          Priority priority = Priority::kForeground) {
  return {priority, account, memory_bytes};
}

absl::Status Enter(CompileQueue& queue, const Ticket& ticket) {
  return queue.Enter(ticket).status;
}

// Callers that enter in threads of their own, and note that they are in.
class Callers {
 public:
  explicit Callers(CompileQueue& queue) : queue_(queue) {}
  ~Callers() {
    for (std::thread& thread : threads_) thread.join();
  }

  void Enter(const std::string& name, const Ticket& ticket) {
    threads_.emplace_back([this, name, ticket] {
      const absl::Status status = queue_.Enter(ticket).status;
      const std::lock_guard<std::mutex> lock(mu_);
      entered_.push_back(status.ok() ? name : name + " cancelled");
      changed_.notify_all();
    });
  }

  // In order of entering, once there are `count` of them.
  std::vector<std::string> Await(size_t count) {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [&] { return entered_.size() >= count; });
    return entered_;
  }

 private:
  CompileQueue& queue_;
  std::vector<std::thread> threads_;
  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<std::string> entered_;
};

// Until so many callers wait.
void AwaitWaiting(CompileQueue& queue, size_t count, Priority priority) {
  while (queue.waiting(priority) != count) std::this_thread::yield();
}

TEST(CompileQueueTest, AdmitsAsManyAsThereArePlaces) {
  CompileQueue queue({2, 0});
  EXPECT_TRUE(Enter(queue, kFore).ok());
  EXPECT_TRUE(Enter(queue, kFore).ok());
  EXPECT_EQ(Enter(queue, kFore).code(), absl::StatusCode::kResourceExhausted);
  queue.Leave(kFore);
  EXPECT_TRUE(Enter(queue, kFore).ok());
}

TEST(CompileQueueTest, LeavesAPlaceFreeOfBackground) {
  CompileQueue queue({3, 0});
  EXPECT_TRUE(Enter(queue, kBack).ok());
  EXPECT_TRUE(Enter(queue, kBack).ok());
  EXPECT_EQ(Enter(queue, kBack).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Enter(queue, kFore).ok());
}

TEST(CompileQueueTest, GivesItsOnlyPlaceToBackgroundToo) {
  CompileQueue queue({1, 0});
  EXPECT_TRUE(Enter(queue, kBack).ok());
  queue.Leave(kBack);
  EXPECT_TRUE(Enter(queue, kFore).ok());
}

TEST(CompileQueueTest, PutsForegroundFirstAndKeepsTheOrderOfArrival) {
  CompileQueue queue({1, 10});
  ASSERT_TRUE(Enter(queue, kFore).ok());
  Callers callers(queue);
  callers.Enter("back 1", kBack);
  AwaitWaiting(queue, 1, kBack.priority);
  callers.Enter("back 2", kBack);
  AwaitWaiting(queue, 2, kBack.priority);
  callers.Enter("fore 1", kFore);
  AwaitWaiting(queue, 1, kFore.priority);
  callers.Enter("fore 2", kFore);
  AwaitWaiting(queue, 2, kFore.priority);
  queue.Leave(kFore);
  callers.Await(1);
  queue.Leave(kFore);
  callers.Await(2);
  queue.Leave(kFore);
  callers.Await(3);
  queue.Leave(kBack);
  const std::vector<std::string> want = {"fore 1", "fore 2", "back 1",
                                         "back 2"};
  EXPECT_EQ(callers.Await(4), want);
}

TEST(CompileQueueTest, BoundsEachPriorityAlone) {
  CompileQueue queue({1, 1});
  ASSERT_TRUE(Enter(queue, kFore).ok());
  Callers callers(queue);
  callers.Enter("back", kBack);
  AwaitWaiting(queue, 1, kBack.priority);
  EXPECT_EQ(Enter(queue, kBack).code(), absl::StatusCode::kResourceExhausted);
  callers.Enter("fore", kFore);
  AwaitWaiting(queue, 1, kFore.priority);
  EXPECT_EQ(Enter(queue, kFore).code(), absl::StatusCode::kResourceExhausted);
  queue.Leave(kFore);
  callers.Await(1);
  queue.Leave(kFore);
  callers.Await(2);
}

TEST(CompileQueueTest, SendsEverybodyAwayWhenClosed) {
  CompileQueue queue({1, 10});
  ASSERT_TRUE(Enter(queue, kFore).ok());
  Callers callers(queue);
  callers.Enter("waits", kBack);
  AwaitWaiting(queue, 1, kBack.priority);
  queue.Close();
  EXPECT_EQ(callers.Await(1), std::vector<std::string>{"waits cancelled"});
  EXPECT_EQ(Enter(queue, kFore).code(), absl::StatusCode::kCancelled);
  queue.Leave(kFore);
}

TEST(CompileQueueTest, TakesTheAccountsInTurn) {
  CompileQueue queue({1, 100});
  ASSERT_TRUE(Enter(queue, kFore).ok());
  Callers callers(queue);
  size_t waiting = 0;
  for (const char* const name : {"a1", "a2", "a3", "a4", "b1", "b2", "c1"}) {
    callers.Enter(name, Of(std::string(1, name[0])));
    AwaitWaiting(queue, ++waiting, Priority::kForeground);
  }
  queue.Leave(kFore);
  std::vector<std::string> entered;
  for (size_t i = 1; i <= waiting; ++i) {
    entered = callers.Await(i);
    queue.Leave(Of(std::string(1, entered.back()[0])));
  }
  const std::vector<std::string> want = {"a1", "b1", "c1", "a2",
                                         "b2", "a3", "a4"};
  EXPECT_EQ(entered, want);
}

// Two hundred modules of one tenant stand before one of another's.
TEST(CompileQueueTest, ServesASmallTenantBeforeABigOnesSecond) {
  CompileQueue queue({2, 1'000});
  ASSERT_TRUE(Enter(queue, Of("big")).ok());
  ASSERT_TRUE(Enter(queue, Of("big")).ok());
  Callers callers(queue);
  for (size_t i = 1; i <= 200; ++i) {
    callers.Enter("big", Of("big"));
    AwaitWaiting(queue, i, Priority::kForeground);
  }
  callers.Enter("small", Of("small"));
  AwaitWaiting(queue, 201, Priority::kForeground);
  queue.Leave(Of("big"));
  EXPECT_EQ(callers.Await(1), std::vector<std::string>{"small"});
  queue.Leave(Of("small"));
  for (size_t i = 2; i <= 201; ++i) {
    EXPECT_EQ(callers.Await(i).back(), "big");
    queue.Leave(Of("big"));
  }
}

TEST(CompileQueueTest, BoundsWhatOneAccountHasWaiting) {
  CompileQueue queue({1, 100, 2});
  ASSERT_TRUE(Enter(queue, Of("a")).ok());
  Callers callers(queue);
  callers.Enter("a", Of("a"));
  AwaitWaiting(queue, 1, Priority::kForeground);
  callers.Enter("a", Of("a"));
  AwaitWaiting(queue, 2, Priority::kForeground);
  const CompileQueue::Entered third = queue.Enter(Of("a"));
  EXPECT_EQ(third.refusal, CompileQueue::Refusal::kAccountFull);
  EXPECT_EQ(third.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(third.status.message(),
            "a has 2 modules waiting for a compiler, the maximum for one; wait "
            "for them, or have the maximum raised");
  EXPECT_EQ(queue.waiting(Priority::kForeground), 2u);
  // Others', and the program's own, are not concerned.
  callers.Enter("b", Of("b"));
  AwaitWaiting(queue, 3, Priority::kForeground);
  for (size_t i = 4; i <= 6; ++i) {
    callers.Enter("own", kFore);
    AwaitWaiting(queue, i, Priority::kForeground);
  }
  std::string last = "a";
  for (size_t i = 1; i <= 6; ++i) {
    queue.Leave(last == "own" ? kFore : Of(last));
    last = callers.Await(i).back();
  }
  queue.Leave(last == "own" ? kFore : Of(last));
}

TEST(CompileQueueTest, BoundsTheMemoryOfOneAccount) {
  CompileQueue queue({4, 100, 100, /*account_memory_bytes_max=*/10});
  ASSERT_TRUE(Enter(queue, Of("a", 6)).ok());
  ASSERT_TRUE(Enter(queue, Of("a", 4)).ok());
  Callers callers(queue);
  callers.Enter("a", Of("a", 1));
  AwaitWaiting(queue, 1, Priority::kForeground);
  // There are places for others.
  EXPECT_TRUE(Enter(queue, Of("b", 10)).ok());
  queue.Leave(Of("a", 4));
  EXPECT_EQ(callers.Await(1), std::vector<std::string>{"a"});
  queue.Leave(Of("a", 6));
  queue.Leave(Of("a", 1));
  // Alone, whatever it takes.
  EXPECT_TRUE(Enter(queue, Of("a", 11)).ok());
  queue.Leave(Of("a", 11));
  queue.Leave(Of("b", 10));
}

}  // namespace
}  // namespace callgate::native
