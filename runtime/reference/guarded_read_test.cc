#include "runtime/reference/guarded_read.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::reference {
namespace {

using ::testing::HasSubstr;

TEST(GuardedReadTest, PassesAFineAnswer) {
  EXPECT_TRUE(SurvivesReading(0, [] { return std::string(); }).ok());
}

TEST(GuardedReadTest, PassesAComplaintOn) {
  const absl::Status status =
      SurvivesReading(0, [] { return std::string("bad opcode at byte 9"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()), "bad opcode at byte 9");
}

TEST(GuardedReadTest, CutsALongComplaint) {
  const absl::Status status =
      SurvivesReading(0, [] { return std::string(1 << 20, 'x'); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_LE(status.message().size(), 1024u);
}

TEST(GuardedReadTest, SurvivesAnAbort) {
  const absl::Status status =
      SurvivesReading(0, []() -> std::string { std::abort(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("without an answer"));
}

TEST(GuardedReadTest, SurvivesAnEarlyExit) {
  const absl::Status status =
      SurvivesReading(0, []() -> std::string { _exit(0); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

// Sanitizers need memory and system calls that the child is denied otherwise.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(CALLGATE_UBSAN)

TEST(GuardedReadTest, BoundsTheChildsMemory) {
  const absl::Status status = SurvivesReading(0, []() -> std::string {
    std::vector<std::unique_ptr<char[]>> hoard;
    while (true) {
      hoard.push_back(std::make_unique<char[]>(1 << 24));
    }
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

TEST(GuardedReadTest, DeniesTheChildSystemCalls) {
  const absl::Status status = SurvivesReading(0, []() -> std::string {
    socket(AF_INET, SOCK_STREAM, 0);
    return "";
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const absl::Status opening = SurvivesReading(0, []() -> std::string {
    open("/etc/passwd", O_RDONLY);
    return "";
  });
  EXPECT_EQ(opening.code(), absl::StatusCode::kInvalidArgument);
}

#endif

TEST(GuardedReadTest, WorksFromManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(SurvivesReading(0, [] {
                      return std::string(1000, 'a').empty() ? "x" : "";
                    }).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace callgate::reference
