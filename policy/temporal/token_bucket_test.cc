#include "policy/temporal/token_bucket.h"

#include "gtest/gtest.h"

namespace callgate::policy::temporal {
namespace {

constexpr Moment kStart = 1'000;
constexpr Span kMillisecond = 1'000'000;
constexpr Span kSecond = 1'000 * kMillisecond;

int TakeAll(TokenBucket* bucket, const BucketShape& shape, Moment now) {
  int taken = 0;
  while (bucket->Take(shape, now, 1)) ++taken;
  return taken;
}

TEST(TokenBucketTest, BeginsFull) {
  TokenBucket bucket;
  EXPECT_EQ(TakeAll(&bucket, {1, 5}, kStart), 5);
}

TEST(TokenBucketTest, FillsAtItsRate) {
  const BucketShape shape = {10, 5};
  TokenBucket bucket;
  TakeAll(&bucket, shape, kStart);
  EXPECT_FALSE(bucket.Take(shape, kStart + 99 * kMillisecond, 1));
  EXPECT_TRUE(bucket.Take(shape, kStart + 101 * kMillisecond, 1));
  EXPECT_FALSE(bucket.Take(shape, kStart + 101 * kMillisecond, 1));
}

TEST(TokenBucketTest, HoldsNoMoreThanItsBurst) {
  const BucketShape shape = {10, 5};
  TokenBucket bucket;
  TakeAll(&bucket, shape, kStart);
  EXPECT_EQ(TakeAll(&bucket, shape, kStart + 86'400 * kSecond), 5);
}

TEST(TokenBucketTest, FractionsAddUp) {
  const BucketShape shape = {0.5, 1};
  TokenBucket bucket;
  TakeAll(&bucket, shape, kStart);
  for (int ms = 100; ms < 2000; ms += 100) {
    EXPECT_FALSE(bucket.Take(shape, kStart + ms * kMillisecond, 1)) << ms;
  }
  EXPECT_TRUE(bucket.Take(shape, kStart + 2001 * kMillisecond, 1));
}

TEST(TokenBucketTest, NeverRefillsAtRateZero) {
  const BucketShape shape = {0, 2};
  TokenBucket bucket;
  EXPECT_EQ(TakeAll(&bucket, shape, kStart), 2);
  EXPECT_FALSE(bucket.Take(shape, INT64_MAX, 1));
}

TEST(TokenBucketTest, SurvivesAnyClock) {
  const BucketShape shape = {10, 1};
  TokenBucket bucket;
  EXPECT_TRUE(bucket.Take(shape, kStart, 1));
  EXPECT_FALSE(bucket.Take(shape, kStart - 3'600 * kSecond, 1));
  EXPECT_FALSE(bucket.Take(shape, kStart, 1));
  EXPECT_TRUE(bucket.Take(shape, kStart + kSecond, 1));
  TokenBucket other;
  EXPECT_TRUE(other.Take(shape, INT64_MIN, 1));
  EXPECT_TRUE(other.Take(shape, INT64_MAX, 1));
}

TEST(TokenBucketTest, TakesWhatACallCosts) {
  const BucketShape shape = {1, 10};
  TokenBucket bucket;
  EXPECT_TRUE(bucket.Take(shape, kStart, 7.5));
  EXPECT_FALSE(bucket.Take(shape, kStart, 2.6));
  EXPECT_TRUE(bucket.Take(shape, kStart, 2.5));
  EXPECT_TRUE(bucket.Take(shape, kStart, 0));
  // More than there can ever be.
  EXPECT_FALSE(bucket.Take(shape, INT64_MAX, 11));
}

TEST(TokenBucketTest, SaysHowLongATokenWillTake) {
  const BucketShape shape = {10, 2};
  TokenBucket bucket;
  const Span longest = 3 * kSecond;
  EXPECT_EQ(bucket.TakeOwing(shape, kStart, 2, longest), 0);
  EXPECT_EQ(bucket.TakeOwing(shape, kStart, 1, longest), 100 * kMillisecond);
  // Who does not wait, waits longer.
  EXPECT_EQ(bucket.TakeOwing(shape, kStart, 1, longest), 200 * kMillisecond);
  EXPECT_EQ(bucket.TakeOwing(shape, kStart + 200 * kMillisecond, 1, longest),
            100 * kMillisecond);
  // Bounded, and so is what is owed.
  EXPECT_EQ(bucket.TakeOwing(shape, kStart + 200 * kMillisecond, 1e12, longest),
            longest);
  EXPECT_EQ(bucket.TakeOwing(shape, kStart + 200 * kMillisecond + longest, 1,
                             longest),
            100 * kMillisecond);
}

}  // namespace
}  // namespace callgate::policy::temporal
