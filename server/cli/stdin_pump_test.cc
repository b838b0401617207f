#include "server/cli/stdin_pump.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <string>

namespace callgate::cli {
namespace {

// Takes what a pump hands on, and lets a test wait for it.
class Taken {
 public:
  bool Take(absl::string_view bytes) {
    const std::lock_guard<std::mutex> lock(mu_);
    bytes_.append(bytes.data(), bytes.size());
    changed_.notify_all();
    return bytes_.size() < enough_;
  }
  void End() {
    const std::lock_guard<std::mutex> lock(mu_);
    ended_ = true;
    changed_.notify_all();
  }
  std::string AwaitEnd() {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [&] { return ended_; });
    return bytes_;
  }
  std::string AwaitBytes(size_t count) {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [&] { return bytes_.size() >= count; });
    return bytes_;
  }
  bool ended() {
    const std::lock_guard<std::mutex> lock(mu_);
    return ended_;
  }
  void set_enough(size_t enough) { enough_ = enough; }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  std::string bytes_;
  bool ended_ = false;
  size_t enough_ = ~size_t{0};
};

class StdinPumpTest : public testing::Test {
 protected:
  StdinPumpTest() { EXPECT_EQ(pipe(ends_), 0); }
  ~StdinPumpTest() override {
    close(ends_[0]);
    CloseWriter();
  }
  void Write(const std::string& bytes) {
    ASSERT_EQ(write(ends_[1], bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }
  void CloseWriter() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }
  int reader() const { return ends_[0]; }

 private:
  int ends_[2];
};

TEST_F(StdinPumpTest, HandsOnEverythingAndThenTheEnd) {
  Taken taken;
  const StdinPump pump(
      reader(), [&](absl::string_view bytes) { return taken.Take(bytes); },
      [&] { taken.End(); });
  Write("one ");
  taken.AwaitBytes(4);
  EXPECT_FALSE(taken.ended());
  Write("two");
  CloseWriter();
  EXPECT_EQ(taken.AwaitEnd(), "one two");
}

TEST_F(StdinPumpTest, StopsWhileItWaitsForInput) {
  Taken taken;
  {
    const StdinPump pump(
        reader(), [&](absl::string_view bytes) { return taken.Take(bytes); },
        [&] { taken.End(); });
    Write("x");
    taken.AwaitBytes(1);
  }
  EXPECT_FALSE(taken.ended());
}

TEST_F(StdinPumpTest, LeavesTheRestToOthersOnceTheTakerHasEnough) {
  Taken taken;
  taken.set_enough(1);
  {
    const StdinPump pump(
        reader(), [&](absl::string_view bytes) { return taken.Take(bytes); },
        [&] { taken.End(); });
    Write("x");
    taken.AwaitBytes(1);
  }
  Write("y");
  char left = 0;
  ASSERT_EQ(read(reader(), &left, 1), 1);
  EXPECT_EQ(left, 'y');
  EXPECT_FALSE(taken.ended());
}

TEST_F(StdinPumpTest, EndsAtOnceWithoutAStdin) {
  Taken taken;
  const StdinPump pump(
      -1, [&](absl::string_view bytes) { return taken.Take(bytes); },
      [&] { taken.End(); });
  // A negative descriptor is one that poll ignores for ever; the pump must not.
  EXPECT_EQ(taken.AwaitEnd(), "");
}

}  // namespace
}  // namespace callgate::cli
