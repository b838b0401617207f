#include "runtime/executor/poller.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace callgate {
namespace {

using Clock = Poller::Clock;

constexpr Clock::time_point kNever = Clock::time_point::max();

class PollerTest : public testing::Test {
 protected:
  PollerTest() {
    auto started = Poller::Start();
    EXPECT_TRUE(started.ok()) << started.status();
    poller_ = *std::move(started);
    EXPECT_EQ(pipe2(pipe_, O_CLOEXEC | O_NONBLOCK), 0);
  }
  ~PollerTest() override {
    poller_ = nullptr;
    for (const int fd : pipe_) {
      if (fd >= 0) close(fd);
    }
  }
  void CloseWriteEnd() {
    close(pipe_[1]);
    pipe_[1] = -1;
  }

  std::unique_ptr<Poller> poller_;
  int pipe_[2] = {-1, -1};
};

TEST_F(PollerTest, CallsBackWhenTheTimeHasComeAndNotBefore) {
  std::promise<Clock::time_point> called;
  const Clock::time_point when = Clock::now() + std::chrono::milliseconds(5);
  poller_->Watch(-1, Poller::For::kReading, when,
                 [&] { called.set_value(Clock::now()); });
  EXPECT_GE(called.get_future().get(), when);
  EXPECT_EQ(poller_->size(), 0u);
}

TEST_F(PollerTest, CallsBackInOrderOfTimeWhateverTheOrderOfAsking) {
  const Clock::time_point begin = Clock::now() + std::chrono::milliseconds(5);
  std::vector<int> order;
  std::promise<void> last;
  for (const int at : {3, 1, 2}) {
    poller_->Watch(-1, Poller::For::kReading,
                   begin + std::chrono::milliseconds(at), [&, at] {
                     order.push_back(at);
                     if (at == 3) last.set_value();
                   });
  }
  last.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_F(PollerTest, ATimeInThePastIsNow) {
  std::promise<void> called;
  poller_->Watch(-1, Poller::For::kReading, Clock::time_point(),
                 [&] { called.set_value(); });
  called.get_future().wait();
}

TEST_F(PollerTest, CallsEverybodyBackWhoWaitsForTheSameDescriptor) {
  std::promise<void> first;
  std::promise<void> second;
  std::promise<void> third;
  poller_->Watch(pipe_[0], Poller::For::kReading, kNever,
                 [&] { first.set_value(); });
  poller_->Watch(pipe_[0], Poller::For::kReading, kNever,
                 [&] { second.set_value(); });
  EXPECT_EQ(poller_->size(), 2u);
  ASSERT_EQ(write(pipe_[1], "x", 1), 1);
  first.get_future().wait();
  second.get_future().wait();
  // And again: nothing is left of the first two.
  poller_->Watch(pipe_[0], Poller::For::kReading, kNever,
                 [&] { third.set_value(); });
  third.get_future().wait();
  EXPECT_EQ(poller_->size(), 0u);
}

TEST_F(PollerTest, TheEndOfAFileIsSomethingToRead) {
  std::promise<void> called;
  poller_->Watch(pipe_[0], Poller::For::kReading, kNever,
                 [&] { called.set_value(); });
  CloseWriteEnd();
  called.get_future().wait();
}

TEST_F(PollerTest, WaitsForRoomToWrite) {
  const std::string page(4096, 'x');
  while (write(pipe_[1], page.data(), page.size()) > 0) {
  }
  std::promise<void> called;
  poller_->Watch(pipe_[1], Poller::For::kWriting, kNever,
                 [&] { called.set_value(); });
  std::future<void> future = called.get_future();
  EXPECT_EQ(future.wait_for(std::chrono::seconds(0)),
            std::future_status::timeout);
  std::string drained(1 << 20, '\0');
  ASSERT_GT(read(pipe_[0], &drained[0], drained.size()), 0);
  future.wait();
}

TEST_F(PollerTest, WhatCannotBeWaitedForIsReady) {
  const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  std::promise<void> called;
  poller_->Watch(file, Poller::For::kReading, kNever,
                 [&] { called.set_value(); });
  called.get_future().wait();
  close(file);
}

TEST_F(PollerTest, ADescriptorMayAlsoBeTooLate) {
  std::promise<void> called;
  poller_->Watch(pipe_[0], Poller::For::kReading,
                 Clock::now() + std::chrono::milliseconds(1),
                 [&] { called.set_value(); });
  called.get_future().wait();
  // Its time has taken it out of epoll, too.
  EXPECT_EQ(poller_->size(), 0u);
  ASSERT_EQ(write(pipe_[1], "x", 1), 1);
}

TEST_F(PollerTest, WhatWasCancelledDoesNotComeAndWhatRunsIsWaitedFor) {
  std::atomic<bool> wrong{false};
  const Poller::Id never = poller_->Watch(pipe_[0], Poller::For::kReading,
                                          kNever, [&] { wrong = true; });
  poller_->Cancel(never);
  poller_->Cancel(never);
  ASSERT_EQ(write(pipe_[1], "x", 1), 1);

  std::promise<void> begun;
  std::promise<void> go;
  std::atomic<bool> done{false};
  const Poller::Id runs =
      poller_->Watch(-1, Poller::For::kReading, Clock::now(), [&] {
        begun.set_value();
        go.get_future().wait();
        done = true;
      });
  begun.get_future().wait();
  std::thread lets_go([&] { go.set_value(); });
  poller_->Cancel(runs);
  EXPECT_TRUE(done);
  lets_go.join();
  EXPECT_FALSE(wrong);
}

TEST_F(PollerTest, ACallbackMayWatchAndCancel) {
  std::promise<void> called;
  std::atomic<Poller::Id> own{0};
  own = poller_->Watch(-1, Poller::For::kReading,
                       Clock::now() + std::chrono::milliseconds(1), [&] {
                         poller_->Cancel(own);
                         poller_->Watch(-1, Poller::For::kReading, Clock::now(),
                                        [&] { called.set_value(); });
                       });
  called.get_future().wait();
}

TEST_F(PollerTest, WhatHasNotComeByTheEndNeverComes) {
  bool wrong = false;
  poller_->Watch(pipe_[0], Poller::For::kReading, kNever,
                 [&] { wrong = true; });
  poller_->Watch(pipe_[0], Poller::For::kReading,
                 Clock::now() + std::chrono::hours(1), [&] { wrong = true; });
  poller_ = nullptr;
  EXPECT_FALSE(wrong);
}

}  // namespace
}  // namespace callgate
