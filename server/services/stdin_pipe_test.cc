#include "server/services/stdin_pipe.h"

#include <unistd.h>

#include <memory>
#include <string>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

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

TEST(StdinPipeTest, GivesThePiecesAndThenTheEnd) {
  absl::Notification room;
  absl::StatusOr<std::unique_ptr<StdinPipe>> pipe =
      StdinPipe::Open([&] { room.Notify(); });
  ASSERT_TRUE(pipe.ok());
  (*pipe)->Give("hello");
  room.WaitForNotification();
  (*pipe)->End();
  EXPECT_EQ(ReadAll((*pipe)->read_fd()), "hello");
}

TEST(StdinPipeTest, AnEndWithoutPiecesIsAnEmptyFile) {
  absl::StatusOr<std::unique_ptr<StdinPipe>> pipe = StdinPipe::Open([] {});
  ASSERT_TRUE(pipe.ok());
  (*pipe)->End();
  EXPECT_EQ(ReadAll((*pipe)->read_fd()), "");
}

TEST(StdinPipeTest, APieceLargerThanThePipeWaitsForItsReader) {
  const std::string large(1 << 20, 'x');
  absl::Notification room;
  absl::StatusOr<std::unique_ptr<StdinPipe>> pipe =
      StdinPipe::Open([&] { room.Notify(); });
  ASSERT_TRUE(pipe.ok());
  (*pipe)->Give(large);
  (*pipe)->End();
  EXPECT_FALSE(room.HasBeenNotified());
  EXPECT_EQ(ReadAll((*pipe)->read_fd()), large);
  EXPECT_TRUE(room.HasBeenNotified());
}

TEST(StdinPipeTest, AGuestThatNeverReadsHoldsNobody) {
  absl::StatusOr<std::unique_ptr<StdinPipe>> pipe = StdinPipe::Open([] {});
  ASSERT_TRUE(pipe.ok());
  (*pipe)->Give(std::string(1 << 20, 'x'));
  pipe->reset();  // returns
}

}  // namespace
}  // namespace callgate
