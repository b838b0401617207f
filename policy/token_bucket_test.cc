#include "policy/token_bucket.h"

#include "gtest/gtest.h"

namespace callgate::policy {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();

int TakeAll(TokenBucket* bucket, absl::Time now) {
  int taken = 0;
  while (bucket->Take(now)) ++taken;
  return taken;
}

TEST(TokenBucketTest, BeginsFull) {
  TokenBucket bucket(1, 5);
  EXPECT_EQ(TakeAll(&bucket, kStart), 5);
}

TEST(TokenBucketTest, FillsAtItsRate) {
  TokenBucket bucket(10, 5);
  TakeAll(&bucket, kStart);
  EXPECT_FALSE(bucket.Take(kStart + absl::Milliseconds(99)));
  EXPECT_TRUE(bucket.Take(kStart + absl::Milliseconds(101)));
  EXPECT_FALSE(bucket.Take(kStart + absl::Milliseconds(101)));
}

TEST(TokenBucketTest, HoldsNoMoreThanItsBurst) {
  TokenBucket bucket(10, 5);
  TakeAll(&bucket, kStart);
  EXPECT_EQ(TakeAll(&bucket, kStart + absl::Hours(24)), 5);
}

TEST(TokenBucketTest, FractionsAddUp) {
  TokenBucket bucket(0.5, 1);
  TakeAll(&bucket, kStart);
  for (int ms = 100; ms < 2000; ms += 100) {
    EXPECT_FALSE(bucket.Take(kStart + absl::Milliseconds(ms))) << ms;
  }
  EXPECT_TRUE(bucket.Take(kStart + absl::Milliseconds(2001)));
}

TEST(TokenBucketTest, NeverRefillsAtRateZero) {
  TokenBucket bucket(0, 2);
  EXPECT_EQ(TakeAll(&bucket, kStart), 2);
  EXPECT_FALSE(bucket.Take(kStart + absl::Hours(1000000)));
}

TEST(TokenBucketTest, SurvivesAClockThatGoesBack) {
  TokenBucket bucket(10, 1);
  EXPECT_TRUE(bucket.Take(kStart));
  EXPECT_FALSE(bucket.Take(kStart - absl::Hours(1)));
  EXPECT_FALSE(bucket.Take(kStart));
  EXPECT_TRUE(bucket.Take(kStart + absl::Seconds(1)));
}

}  // namespace
}  // namespace callgate::policy
