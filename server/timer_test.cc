#include "server/timer.h"

#include <atomic>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace callgate {
namespace {

TEST(TimerTest, CallsBackInTheOrderOfTime) {
  std::vector<int> order;
  absl::Notification done;
  Timer timer;
  const absl::Time now = absl::Now();
  timer.Schedule(now + absl::Milliseconds(2), [&] {
    order.push_back(2);
    done.Notify();
  });
  timer.Schedule(now + absl::Milliseconds(1), [&] { order.push_back(1); });
  done.WaitForNotification();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(TimerTest, CancelTakesBackWhatIsNotDue) {
  std::atomic<int> calls{0};
  absl::Notification done;
  Timer timer;
  const Timer::Id id =
      timer.Schedule(absl::Now() + absl::Milliseconds(1), [&] { ++calls; });
  timer.Cancel(id);
  timer.Cancel(id);
  timer.Schedule(absl::Now() + absl::Milliseconds(2), [&] { done.Notify(); });
  done.WaitForNotification();
  EXPECT_EQ(calls, 0);
}

TEST(TimerTest, CancelWaitsForACallbackThatRuns) {
  absl::Notification started;
  absl::Notification go;
  std::atomic<bool> ended{false};
  Timer timer;
  const Timer::Id id = timer.Schedule(absl::Now(), [&] {
    started.Notify();
    go.WaitForNotification();
    ended = true;
  });
  started.WaitForNotification();
  go.Notify();
  timer.Cancel(id);
  EXPECT_TRUE(ended);
}

TEST(TimerTest, ACallbackMayCancelItselfAndScheduleAgain) {
  absl::Notification done;
  Timer timer;
  Timer::Id id = 0;
  absl::Notification known;
  id = timer.Schedule(absl::Now(), [&] {
    known.WaitForNotification();
    timer.Cancel(id);
    timer.Schedule(absl::Now(), [&] { done.Notify(); });
  });
  known.Notify();
  done.WaitForNotification();
}

TEST(TimerTest, DestructionDropsWhatIsNotDue) {
  std::atomic<int> calls{0};
  {
    Timer timer;
    timer.Schedule(absl::InfiniteFuture(), [&] { ++calls; });
  }
  EXPECT_EQ(calls, 0);
}

// Set back by a day once something waits.
std::atomic<bool> set_back{false};
absl::Time SettableClock() {
  return set_back ? absl::Now() - absl::Hours(24) : absl::Now();
}

TEST(TimerTest, AClockThatGoesBackDelaysNothing) {
  set_back = false;
  Timer timer(SettableClock);
  absl::Notification before;
  absl::Notification after;
  timer.Schedule(SettableClock() + absl::Milliseconds(20),
                 [&] { before.Notify(); });
  set_back = true;
  timer.Schedule(SettableClock() + absl::Milliseconds(20),
                 [&] { after.Notify(); });
  EXPECT_TRUE(before.WaitForNotificationWithTimeout(absl::Seconds(60)));
  EXPECT_TRUE(after.WaitForNotificationWithTimeout(absl::Seconds(60)));
}

}  // namespace
}  // namespace callgate
