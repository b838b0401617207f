#include "runtime/native/cache/lru_index.h"

#include <vector>

#include "gtest/gtest.h"

namespace callgate::native {
namespace {

CacheKey Key(uint8_t number) { return CacheKey(CacheKey::Bytes{number}); }
using Keys = std::vector<CacheKey>;

TEST(LruIndexTest, DropsTheLongestUnusedFirst) {
  LruIndex index(30, 100);
  index.Touch(Key(1), 10, 1);
  index.Touch(Key(2), 10, 2);
  index.Touch(Key(3), 10, 3);
  EXPECT_EQ(index.MakeRoom(0, 0), Keys());
  index.Touch(Key(1), 10, 4);
  EXPECT_EQ(index.MakeRoom(1, 1), Keys({Key(2)}));
  EXPECT_EQ(index.MakeRoom(20, 1), Keys({Key(3)}));
  EXPECT_EQ(index.bytes(), 10u);
  EXPECT_EQ(index.MakeRoom(31, 1), Keys({Key(1)}));
  EXPECT_EQ(index.bytes(), 0u);
  EXPECT_EQ(index.entries(), 0u);
}

TEST(LruIndexTest, BoundsTheEntriesToo) {
  LruIndex index(1000, 2);
  index.Touch(Key(1), 1, 1);
  index.Touch(Key(2), 1, 2);
  EXPECT_EQ(index.MakeRoom(0, 0), Keys());
  EXPECT_EQ(index.MakeRoom(0, 1), Keys({Key(1)}));
}

TEST(LruIndexTest, CountsAnEntryOnceWhateverItsSizeBecomes) {
  LruIndex index(100, 100);
  index.Touch(Key(1), 50, 1);
  index.Touch(Key(1), 20, 2);
  EXPECT_EQ(index.bytes(), 20u);
  EXPECT_EQ(index.entries(), 1u);
  index.Found(Key(1), 30, 0);
  EXPECT_EQ(index.bytes(), 30u);
  index.Erase(Key(1));
  index.Erase(Key(1));
  EXPECT_EQ(index.bytes(), 0u);
}

TEST(LruIndexTest, KeepsTheOrderWhenTheClockGoesBack) {
  LruIndex index(20, 100);
  index.Touch(Key(1), 10, 1'000);
  index.Touch(Key(2), 10, 5);
  EXPECT_EQ(index.MakeRoom(10, 1), Keys({Key(1)}));
}

TEST(LruIndexTest, TakesTheLaterOfTwoUses) {
  LruIndex index(20, 100);
  index.Found(Key(1), 10, 7);
  index.Found(Key(2), 10, 6);
  index.Found(Key(1), 10, 5);
  EXPECT_EQ(index.MakeRoom(10, 1), Keys({Key(2)}));
}

TEST(LruIndexTest, ForgetsWhatAScanDoesNotSee) {
  LruIndex index(1000, 100);
  for (uint8_t i = 1; i <= 4; ++i) index.Touch(Key(i), 10, i);
  index.BeginScan();
  index.Found(Key(1), 10, 1);
  index.Touch(Key(2), 10, 9);
  index.Found(Key(5), 10, 1);
  index.EndScan();
  EXPECT_EQ(index.entries(), 3u);
  EXPECT_EQ(index.bytes(), 30u);
  EXPECT_EQ(index.MakeRoom(0, 98), Keys({Key(1)}));
}

}  // namespace
}  // namespace callgate::native
