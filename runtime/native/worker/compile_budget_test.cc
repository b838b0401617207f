#include "runtime/native/worker/compile_budget.h"

#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::native {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

class CompileBudgetTest : public testing::Test {
 protected:
  CompileBudget::Options OptionsOf() {
    CompileBudget::Options options;
    options.amount = seconds(60);
    options.window = seconds(120);
    options.now = [this] { return now_; };
    return options;
  }
  bool May(const std::string& account) { return budget_.Check(account).ok(); }

  CompileBudget::Clock::time_point now_ =
      CompileBudget::Clock::time_point(hours(1));
  CompileBudget budget_{OptionsOf()};
};

TEST_F(CompileBudgetTest, EndsWhenAllIsUsed) {
  EXPECT_TRUE(May("a"));
  budget_.Charge("a", seconds(60) - milliseconds(1));
  EXPECT_TRUE(May("a"));
  budget_.Charge("a", milliseconds(1));
  EXPECT_FALSE(May("a"));
  EXPECT_TRUE(May("b"));
}

TEST_F(CompileBudgetTest, ComesBackAtItsRate) {
  budget_.Charge("a", seconds(70));
  EXPECT_FALSE(May("a"));
  now_ += seconds(20);
  EXPECT_FALSE(May("a")) << "the debt of ten seconds is paid, and no more";
  now_ += milliseconds(10);
  EXPECT_TRUE(May("a"));
  // Time that was not used is not saved beyond the amount.
  now_ += hours(100);
  budget_.Charge("a", seconds(60));
  EXPECT_FALSE(May("a"));
}

TEST_F(CompileBudgetTest, SaysHowMuchThereIsAndWhen) {
  budget_.Charge("acme", seconds(70));
  const absl::Status status = budget_.Check("acme");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  // Ten seconds of debt and six of a tenth of the bucket, at half a second a
  // second.
  EXPECT_EQ(status.message(),
            "acme has used 70 s of compile time, where the budget is 60 s in "
            "120 s; try again in 32 s, or have the budget raised");
  now_ += seconds(32);
  EXPECT_TRUE(May("acme"));
}

TEST_F(CompileBudgetTest, DoesNotBoundTheProgramsOwn) {
  budget_.Charge("", hours(1));
  EXPECT_TRUE(May(""));
  EXPECT_EQ(budget_.accounts(), 0u);
}

TEST_F(CompileBudgetTest, ForgetsAccountsWhoseBucketIsFull) {
  for (int i = 0; i < 10'000; ++i) {
    budget_.Charge(absl::StrCat("tenant ", i), milliseconds(5));
    now_ += milliseconds(5);
  }
  // Each is full again after ten milliseconds.
  EXPECT_LE(budget_.accounts(), 3u);
}

}  // namespace
}  // namespace callgate::native
