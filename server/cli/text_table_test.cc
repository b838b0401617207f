#include "server/cli/text_table.h"

#include <gtest/gtest.h>

namespace callgate::cli {
namespace {

TEST(TextTableTest, AlignsColumnsByCharacters) {
  EXPECT_EQ(TextTable({{"a", "bb", "c"}, {"ARGS…", "", "d"}, {"x"}}),
            "a      bb  c\n"
            "ARGS…      d\n"
            "x\n");
}

TEST(TextTableTest, IsEmptyWithoutRows) { EXPECT_EQ(TextTable({}), ""); }

}  // namespace
}  // namespace callgate::cli
