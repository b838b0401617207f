#include "server/worker_pool.h"

#include <atomic>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace callgate {
namespace {

TEST(WorkerPoolTest, RefusesWhatIsOverThreadsAndQueue) {
  absl::Notification go;
  std::atomic<int> done{0};
  const auto job = [&] {
    go.WaitForNotification();
    ++done;
  };
  {
    WorkerPool pool(2, 1);
    EXPECT_EQ(pool.capacity(), 3u);
    EXPECT_TRUE(pool.TryRun(job));
    EXPECT_TRUE(pool.TryRun(job));
    EXPECT_TRUE(pool.TryRun(job));
    EXPECT_FALSE(pool.TryRun(job));
    EXPECT_FALSE(pool.WaitUntilIdle(absl::Now()));
    go.Notify();
    EXPECT_TRUE(pool.WaitUntilIdle(absl::InfiniteFuture()));
    EXPECT_EQ(done, 3);
    EXPECT_TRUE(pool.TryRun(job));
  }
  // Destruction runs what was taken.
  EXPECT_EQ(done, 4);
}

TEST(WorkerPoolTest, RunsJobsAtTheSameTime) {
  WorkerPool pool(2, 0);
  absl::Notification first;
  absl::Notification second;
  EXPECT_TRUE(pool.TryRun([&] {
    first.Notify();
    second.WaitForNotification();
  }));
  EXPECT_TRUE(pool.TryRun([&] {
    first.WaitForNotification();
    second.Notify();
  }));
  EXPECT_TRUE(pool.WaitUntilIdle(absl::InfiniteFuture()));
}

}  // namespace
}  // namespace callgate
