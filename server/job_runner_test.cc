#include "server/job_runner.h"

#include <unistd.h>

#include <memory>

#include "gtest/gtest.h"
#include "runtime/executor/executor.h"
#include "server/worker_pool.h"

namespace callgate {
namespace {

TEST(RunAsideTest, RunsElsewhereForAFiberAndHereForAThread) {
  WorkerPool pool(1, 1);
  const pid_t here = gettid();
  pid_t ran_on = 0;
  RunAside(pool, [&] { ran_on = gettid(); });
  EXPECT_EQ(ran_on, here);

  Executor::Options options;
  options.threads = 1;
  auto executor = Executor::Start(options);
  ASSERT_TRUE(executor.ok());
  pid_t fiber_on = 0;
  bool back = false;
  // The fiber's one thread is free for another job while the work goes on.
  ASSERT_TRUE((*executor)->TryRun([&] {
    fiber_on = gettid();
    RunAside(pool, [&] {
      ran_on = gettid();
      EXPECT_TRUE((*executor)->TryRun([] {}));
      while ((*executor)->counts().parked != 1) {
      }
    });
    back = true;
  }));
  EXPECT_TRUE((*executor)->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_TRUE(back);
  EXPECT_NE(ran_on, here);
  EXPECT_NE(ran_on, fiber_on);
}

TEST(RunAsideTest, RunsHereWhereThereIsNoRoom) {
  class Full final : public JobRunner {
    bool TryRun(std::function<void()>, std::function<void()>) override {
      return false;
    }
    size_t capacity() const override { return 0; }
  } full;
  auto executor = Executor::Start(Executor::Options());
  ASSERT_TRUE(executor.ok());
  bool ran = false;
  ASSERT_TRUE(
      (*executor)->TryRun([&] { RunAside(full, [&] { ran = true; }); }));
  EXPECT_TRUE((*executor)->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace callgate
