#include "server/services/stdin_pipe.h"

#include <unistd.h>

#include <future>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "runtime/executor/poller.h"

namespace callgate {
namespace {

std::string ReadAll(int fd) {
  std::string all;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
    all.append(buffer, static_cast<size_t>(got));
  }
  return all;
}

class StdinPipeTest : public testing::Test {
 protected:
  StdinPipeTest() : poller_(Poller::Start().value()) {}

  std::unique_ptr<StdinPipe> Open(std::function<void()> on_room) {
    auto pipe = StdinPipe::Open(*poller_, std::move(on_room));
    EXPECT_TRUE(pipe.ok()) << pipe.status();
    return *std::move(pipe);
  }
  static void NoRoom() { ADD_FAILURE() << "on_room was called"; }

  const std::unique_ptr<Poller> poller_;
};

TEST_F(StdinPipeTest, GivesThePiecesAndThenTheEnd) {
  const std::unique_ptr<StdinPipe> pipe = Open(&NoRoom);
  EXPECT_TRUE(pipe->Give("hel"));
  EXPECT_TRUE(pipe->Give("lo"));
  pipe->End();
  EXPECT_EQ(ReadAll(pipe->read_fd()), "hello");
}

TEST_F(StdinPipeTest, AnEndWithoutPiecesIsAnEmptyFile) {
  const std::unique_ptr<StdinPipe> pipe = Open(&NoRoom);
  pipe->End();
  EXPECT_EQ(ReadAll(pipe->read_fd()), "");
}

TEST_F(StdinPipeTest, SaysWhenThereIsRoomAgain) {
  std::promise<void> room;
  const std::unique_ptr<StdinPipe> pipe = Open([&] { room.set_value(); });
  const std::string large(200'000, 'x');
  EXPECT_FALSE(pipe->Give(large));
  std::future<void> has_room = room.get_future();
  std::string got(large.size(), '\0');
  size_t done = 0;
  while (done < got.size()) {
    const ssize_t count = read(pipe->read_fd(), &got[done], got.size() - done);
    ASSERT_GT(count, 0);
    done += static_cast<size_t>(count);
  }
  has_room.wait();
  EXPECT_EQ(got, large);
  EXPECT_TRUE(pipe->Give("more"));
  pipe->End();
  EXPECT_EQ(ReadAll(pipe->read_fd()), "more");
}

TEST_F(StdinPipeTest, APieceLargerThanThePipeIsReadBeforeTheEnd) {
  const std::string large(1 << 20, 'x');
  const std::unique_ptr<StdinPipe> pipe = Open(&NoRoom);
  EXPECT_FALSE(pipe->Give(large));
  pipe->End();
  EXPECT_EQ(ReadAll(pipe->read_fd()), large);
}

TEST_F(StdinPipeTest, AGuestThatNeverReadsHoldsNobody) {
  std::unique_ptr<StdinPipe> pipe = Open(&NoRoom);
  EXPECT_FALSE(pipe->Give(std::string(1 << 20, 'x')));
  EXPECT_EQ(poller_->size(), 1u);
  pipe = nullptr;
  EXPECT_EQ(poller_->size(), 0u);
}

}  // namespace
}  // namespace callgate
