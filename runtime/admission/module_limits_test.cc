#include "runtime/admission/module_limits.h"

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "gtest/gtest.h"

namespace callgate::admission {
namespace {

// The defaults are a promise to whoever writes policy files.
TEST(ModuleLimitsTest, HaveTheDocumentedDefaults) {
  const struct {
    const char* name;
    uint64_t value;
  } kRows[] = {
      {"bytes", 8388608},
      {"functions", 20000},
      {"imports", 100},
      {"exports", 1000},
      {"types", 2000},
      {"locals_per_function", 1000},
      {"locals_total", 200000},
      {"params_per_function", 64},
      {"results_per_function", 64},
      {"nesting_depth", 4096},
      {"br_table_targets", 8192},
      {"function_body_bytes", 1048576},
      {"memories", 1},
      {"memory_pages_initial", 1024},
      {"tables", 1},
      {"table_elements_initial", 10000},
      {"globals", 1000},
      {"data_segments", 10000},
      {"element_segments", 1000},
      {"element_segment_items_total", 100000},
      {"custom_section_bytes", 8388608},
      {"name_bytes", 256},
  };
  const ModuleLimits limits;
  EXPECT_EQ(AllLimits().size(), sizeof(kRows) / sizeof(kRows[0]));
  for (const auto& row : kRows) {
    const LimitName* limit = FindLimit(row.name);
    ASSERT_NE(limit, nullptr) << row.name;
    EXPECT_EQ(limits.*limit->member, row.value) << row.name;
    EXPECT_FALSE(limit->meaning.empty()) << row.name;
  }
}

TEST(ModuleLimitsTest, NameEachMemberOnce) {
  absl::flat_hash_set<std::string> names;
  ModuleLimits limits;
  for (const LimitName& limit : AllLimits()) {
    EXPECT_TRUE(names.insert(std::string(limit.name)).second) << limit.name;
    limits.*limit.member = 0;
  }
  for (const LimitName& limit : AllLimits()) {
    EXPECT_EQ(limits.*limit.member, 0u) << limit.name;
    ++(limits.*limit.member);
  }
}

TEST(ModuleLimitsTest, FindsNothingByAnUnknownName) {
  EXPECT_EQ(FindLimit("local_total"), nullptr);
  EXPECT_EQ(FindLimit(""), nullptr);
}

}  // namespace
}  // namespace callgate::admission
