#include "runtime/native/optimiser.h"

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace callgate::native {
namespace {

// Holds the optimiser's thread in a job until it is opened.
class Gate {
 public:
  void Pass() {
    std::unique_lock<std::mutex> lock(mu_);
    arrived_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void AwaitArrival() {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [this] { return arrived_; });
  }
  void Open() {
    const std::lock_guard<std::mutex> lock(mu_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  bool arrived_ = false;
  bool open_ = false;
};

class OptimiserTest : public testing::Test {
 protected:
  void SetUp() override {
    optimiser_.Add(
        "first", 1, [] { return true; },
        [this] {
          gate_.Pass();
          return absl::OkStatus();
        });
    gate_.AwaitArrival();
  }
  void TearDown() override {
    gate_.Open();
    optimiser_.Drain();
  }
  void Add(const std::string& account, const std::string& name,
           uint64_t bytes = 1, bool wanted = true) {
    // Only the optimiser's thread writes, until Drain().
    optimiser_.Add(
        account, bytes, [wanted] { return wanted; },
        [this, name] {
          order_.push_back(name);
          return name == "bad" ? absl::InternalError("no") : absl::OkStatus();
        });
  }
  std::vector<std::string> Finish() {
    gate_.Open();
    optimiser_.Drain();
    return order_;
  }

  Gate gate_;
  std::vector<std::string> order_;
  Optimiser optimiser_;
};

TEST_F(OptimiserTest, TakesTheAccountsInTurn) {
  for (const char* const name : {"a1", "a2", "a3", "b1", "c1", "c2"}) {
    Add(std::string(1, name[0]), name);
  }
  EXPECT_EQ(optimiser_.stats().waiting, 6u);
  const std::vector<std::string> want = {"a1", "b1", "c1", "a2", "c2", "a3"};
  EXPECT_EQ(Finish(), want);
  EXPECT_EQ(optimiser_.stats().waiting, 0u);
  EXPECT_EQ(optimiser_.stats().done, 7u);
}

TEST_F(OptimiserTest, BoundsTheBytesOfAnAccountAndOfAll) {
  const uint64_t most = Optimiser::kAccountBytesMax;
  Add("a", "a1", most - 1);
  Add("a", "a2", 2);
  Add("a", "a3", 1);
  for (const char* const name : {"b", "c", "d"}) Add(name, name, most);
  EXPECT_EQ(optimiser_.stats().overflow, 1u);
  Add("e", "e", 1);
  EXPECT_EQ(optimiser_.stats().overflow, 2u);
  const std::vector<std::string> want = {"a1", "b", "c", "d", "a3"};
  EXPECT_EQ(Finish(), want);
}

TEST_F(OptimiserTest, CountsWhatBecameOfThem) {
  Add("a", "dropped", 1, /*wanted=*/false);
  Add("a", "bad");
  EXPECT_EQ(Finish(), std::vector<std::string>{"bad"});
  EXPECT_EQ(optimiser_.stats().dropped, 1u);
  EXPECT_EQ(optimiser_.stats().failed, 1u);
  EXPECT_EQ(optimiser_.stats().done, 1u);
}

}  // namespace
}  // namespace callgate::native
