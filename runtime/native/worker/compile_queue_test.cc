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

constexpr Priority kFore = Priority::kForeground;
constexpr Priority kBack = Priority::kBackground;

// Callers that enter in threads of their own, and note that they are in.
class Callers {
 public:
  explicit Callers(CompileQueue& queue) : queue_(queue) {}
  ~Callers() {
    for (std::thread& thread : threads_) thread.join();
  }

  void Enter(const std::string& name, Priority priority) {
    threads_.emplace_back([this, name, priority] {
      const absl::Status status = queue_.Enter(priority);
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
  CompileQueue queue(2, 0);
  EXPECT_TRUE(queue.Enter(kFore).ok());
  EXPECT_TRUE(queue.Enter(kFore).ok());
  EXPECT_EQ(queue.Enter(kFore).code(), absl::StatusCode::kResourceExhausted);
  queue.Leave(kFore);
  EXPECT_TRUE(queue.Enter(kFore).ok());
}

TEST(CompileQueueTest, LeavesAPlaceFreeOfBackground) {
  CompileQueue queue(3, 0);
  EXPECT_TRUE(queue.Enter(kBack).ok());
  EXPECT_TRUE(queue.Enter(kBack).ok());
  EXPECT_EQ(queue.Enter(kBack).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(queue.Enter(kFore).ok());
}

TEST(CompileQueueTest, GivesItsOnlyPlaceToBackgroundToo) {
  CompileQueue queue(1, 0);
  EXPECT_TRUE(queue.Enter(kBack).ok());
  queue.Leave(kBack);
  EXPECT_TRUE(queue.Enter(kFore).ok());
}

TEST(CompileQueueTest, PutsForegroundFirstAndKeepsTheOrderOfArrival) {
  CompileQueue queue(1, 10);
  ASSERT_TRUE(queue.Enter(kFore).ok());
  Callers callers(queue);
  callers.Enter("back 1", kBack);
  AwaitWaiting(queue, 1, kBack);
  callers.Enter("back 2", kBack);
  AwaitWaiting(queue, 2, kBack);
  callers.Enter("fore 1", kFore);
  AwaitWaiting(queue, 1, kFore);
  callers.Enter("fore 2", kFore);
  AwaitWaiting(queue, 2, kFore);
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
  CompileQueue queue(1, 1);
  ASSERT_TRUE(queue.Enter(kFore).ok());
  Callers callers(queue);
  callers.Enter("back", kBack);
  AwaitWaiting(queue, 1, kBack);
  EXPECT_EQ(queue.Enter(kBack).code(), absl::StatusCode::kResourceExhausted);
  callers.Enter("fore", kFore);
  AwaitWaiting(queue, 1, kFore);
  EXPECT_EQ(queue.Enter(kFore).code(), absl::StatusCode::kResourceExhausted);
  queue.Leave(kFore);
  callers.Await(1);
  queue.Leave(kFore);
  callers.Await(2);
}

TEST(CompileQueueTest, SendsEverybodyAwayWhenClosed) {
  CompileQueue queue(1, 10);
  ASSERT_TRUE(queue.Enter(kFore).ok());
  Callers callers(queue);
  callers.Enter("waits", kBack);
  AwaitWaiting(queue, 1, kBack);
  queue.Close();
  EXPECT_EQ(callers.Await(1), std::vector<std::string>{"waits cancelled"});
  EXPECT_EQ(queue.Enter(kFore).code(), absl::StatusCode::kCancelled);
  queue.Leave(kFore);
}

}  // namespace
}  // namespace callgate::native
