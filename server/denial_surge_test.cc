#include "server/denial_surge.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace callgate {
namespace {

class DenialSurgeTest : public testing::Test {
 protected:
  // Calls of each of `tenants` tenants, with modules of their own.
  void Deny(int tenants, int times, const std::string& module = "",
            const std::string& policy = "web") {
    for (int t = 0; t < tenants; ++t) {
      for (int i = 0; i < times; ++i) {
        surge_.NoteDenial(policy, absl::StrCat("t", t),
                          module.empty() ? absl::StrCat("m", t) : module, now_);
      }
    }
  }
  void Change() { surge_.NoteChange("web", "web", "old", now_); }
  size_t Surges() { return surge_.Check(now_).size(); }

  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  DenialSurge surge_{DenialSurge::Options()};
};

TEST_F(DenialSurgeTest, IsSeenOfSeveralTenantsAfterAChange) {
  Change();
  now_ += absl::Seconds(30);
  Deny(3, 20);
  const auto surges = surge_.Check(now_);
  ASSERT_EQ(surges.size(), 1u);
  EXPECT_EQ(surges[0].policy, "web");
  EXPECT_EQ(surges[0].cause, "web");
  EXPECT_EQ(surges[0].before, "old");
  EXPECT_EQ(surges[0].tenants, 3u);
  EXPECT_EQ(surges[0].denials, 60u);
  // Told once.
  EXPECT_EQ(Surges(), 0u);
}

TEST_F(DenialSurgeTest, IsNoneWithoutAChange) {
  Deny(10, 1000);
  EXPECT_EQ(Surges(), 0u);
}

TEST_F(DenialSurgeTest, IsNoneOfFewTenants) {
  Change();
  Deny(2, 100'000);
  EXPECT_EQ(Surges(), 0u);
}

TEST_F(DenialSurgeTest, IsNoneOfFewDenialsEach) {
  Change();
  Deny(100, 19);
  EXPECT_EQ(Surges(), 0u);
}

TEST_F(DenialSurgeTest, IsNoneOfASingleModule) {
  Change();
  Deny(100, 100, "sha256:one");
  EXPECT_EQ(Surges(), 0u);
  surge_.NoteDenial("web", "t0", "sha256:two", now_);
  EXPECT_EQ(Surges(), 1u);
}

TEST_F(DenialSurgeTest, IsNoneOfAnotherPolicy) {
  Change();
  Deny(3, 100, "", "other");
  Deny(3, 100, "", "we");
  Deny(3, 100, "", "webb");
  EXPECT_EQ(Surges(), 0u);
}

TEST_F(DenialSurgeTest, IsNoneWhereItWasUsual) {
  for (int minute = 0; minute < 30; ++minute) {
    Deny(3, 30);
    now_ += absl::Minutes(1);
  }
  Change();
  now_ += absl::Seconds(10);
  Deny(3, 290);
  EXPECT_EQ(Surges(), 0u);
  Deny(3, 20);
  EXPECT_EQ(Surges(), 1u);
}

TEST_F(DenialSurgeTest, CountsTheLastMinuteOnly) {
  Change();
  for (int i = 0; i < 5; ++i) {
    Deny(3, 5);
    now_ += absl::Seconds(30);
  }
  EXPECT_EQ(Surges(), 0u);
}

TEST_F(DenialSurgeTest, WatchesForAWhile) {
  Change();
  now_ += absl::Minutes(10) + absl::Seconds(1);
  Deny(3, 100);
  EXPECT_EQ(Surges(), 0u);
}

TEST_F(DenialSurgeTest, WatchesNoRollback) {
  Change();
  surge_.Forget("web");
  Deny(3, 100);
  EXPECT_EQ(Surges(), 0u);
}

TEST_F(DenialSurgeTest, IsPutDownToItsCause) {
  surge_.NoteChange("web", "base", "old-base", now_);
  Deny(3, 100);
  const auto surges = surge_.Check(now_);
  ASSERT_EQ(surges.size(), 1u);
  EXPECT_EQ(surges[0].cause, "base");
  EXPECT_EQ(surges[0].before, "old-base");
}

TEST_F(DenialSurgeTest, ForgetsAnHourLater) {
  Deny(3, 1000);
  now_ += absl::Hours(2);
  EXPECT_EQ(Surges(), 0u);
  Change();
  Deny(3, 20);
  EXPECT_EQ(Surges(), 1u);
}

TEST_F(DenialSurgeTest, IsBounded) {
  Change();
  for (size_t i = 0; i < DenialSurge::kPairsMax; ++i) {
    surge_.NoteDenial("other", absl::StrCat(i), "m", now_);
  }
  // What comes too late is not counted, and does no harm.
  Deny(3, 1000);
  EXPECT_EQ(Surges(), 0u);
  now_ += absl::Hours(2);
  EXPECT_EQ(Surges(), 0u);
  Change();
  Deny(3, 1000);
  EXPECT_EQ(Surges(), 1u);
}

}  // namespace
}  // namespace callgate
