#include "runtime/wasi/handle_table.h"

#include "gtest/gtest.h"

namespace callgate {
namespace wasi {
namespace {

Handle Numbered(uint64_t rights) {
  Handle handle;
  handle.rights_base = rights;
  return handle;
}

TEST(HandleTableTest, GivesTheLowestFreeNumber) {
  HandleTable table(8);
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(*table.Insert(Numbered(i)), i);
  EXPECT_EQ(table.Close(1), Errno::kSuccess);
  EXPECT_EQ(table.Close(2), Errno::kSuccess);
  EXPECT_EQ(*table.Insert(Numbered(10)), 1u);
  EXPECT_EQ(*table.Insert(Numbered(11)), 2u);
  EXPECT_EQ(*table.Insert(Numbered(12)), 4u);
  EXPECT_EQ(table.Find(1)->rights_base, 10u);
}

TEST(HandleTableTest, HoldsItsCapacityAndNotOneMore) {
  HandleTable table(2);
  EXPECT_FALSE(table.full());
  EXPECT_TRUE(table.Insert(Numbered(0)).ok());
  EXPECT_TRUE(table.Insert(Numbered(1)).ok());
  EXPECT_TRUE(table.full());
  EXPECT_EQ(table.Insert(Numbered(2)).failure().number(), Errno::kMfile);
  EXPECT_EQ(table.Close(0), Errno::kSuccess);
  EXPECT_EQ(*table.Insert(Numbered(2)), 0u);
}

TEST(HandleTableTest, KnowsWhatIsNotOpen) {
  HandleTable table(4);
  ASSERT_TRUE(table.Insert(Numbered(0)).ok());
  EXPECT_EQ(table.Find(1), nullptr);
  EXPECT_EQ(table.Find(~0u), nullptr);
  EXPECT_EQ(table.Close(1), Errno::kBadf);
  EXPECT_EQ(table.Close(~0u), Errno::kBadf);
  EXPECT_EQ(table.Close(0), Errno::kSuccess);
  EXPECT_EQ(table.Close(0), Errno::kBadf);
}

TEST(HandleTableTest, RenumbersOntoOpenNumbersOnly) {
  HandleTable table(3);
  ASSERT_TRUE(table.Insert(Numbered(10)).ok());
  ASSERT_TRUE(table.Insert(Numbered(11)).ok());
  EXPECT_EQ(table.Renumber(0, 2), Errno::kBadf);
  EXPECT_EQ(table.Renumber(2, 0), Errno::kBadf);
  EXPECT_EQ(table.Renumber(0, 0), Errno::kSuccess);
  EXPECT_EQ(table.Find(0)->rights_base, 10u);
  EXPECT_EQ(table.Renumber(0, 1), Errno::kSuccess);
  EXPECT_EQ(table.Find(0), nullptr);
  EXPECT_EQ(table.Find(1)->rights_base, 10u);
  // The number that fell free may be used again.
  EXPECT_TRUE(table.Insert(Numbered(12)).ok());
  EXPECT_TRUE(table.Insert(Numbered(13)).ok());
  EXPECT_TRUE(table.full());
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
