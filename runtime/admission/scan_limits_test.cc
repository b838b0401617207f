// Every limit at its edge, the inputs that broke other engines, and that the
// scan's own cost grows no faster than the input.

#include <functional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/admission/module_bytes.h"
#include "runtime/admission/scan.h"
#include "runtime/admission/scan_testing.h"

namespace callgate::admission {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct LimitRow {
  std::string name;  // of the limit
  // A module that has `n` of it.
  std::function<Bytes(uint64_t n)> make;
  // Where the refusal points, for n = 4.
  uint64_t offset;
};

class Limit : public testing::TestWithParam<LimitRow> {};

// The limit under test is three, except that no module has fewer than eight
// bytes.
uint64_t MaxFor(const std::string& limit) { return limit == "bytes" ? 8 : 3; }

ScanResult ScanWithLimit(const std::string& limit, const Bytes& bytes) {
  ModuleLimits limits = NoLimits();
  limits.*FindLimit(limit)->member = MaxFor(limit);
  return Scan(bytes, limits, EveryFeature());
}

TEST_P(Limit, AdmitsWhatIsAtIt) {
  const ScanResult result = ScanWithLimit(GetParam().name, GetParam().make(3));
  EXPECT_TRUE(result.admitted()) << MessageOf(result);
}

TEST_P(Limit, RefusesOnePast) {
  const uint64_t max = MaxFor(GetParam().name);
  const ScanResult result = ScanWithLimit(GetParam().name, GetParam().make(4));
  EXPECT_FALSE(result.summary.has_value());
  ASSERT_TRUE(result.refusal.has_value());
  const Refusal& refusal = *result.refusal;
  EXPECT_EQ(refusal.kind, Refusal::Kind::kOverLimit) << refusal.message;
  EXPECT_EQ(refusal.limit, GetParam().name);
  EXPECT_EQ(refusal.value, max + 1) << refusal.message;
  EXPECT_EQ(refusal.max, max);
  EXPECT_EQ(refusal.offset, GetParam().offset) << refusal.message;
  EXPECT_THAT(
      refusal.message,
      AllOf(HasSubstr(absl::StrCat(" ", max + 1, " ")),
            HasSubstr(absl::StrCat("at byte ", refusal.offset)),
            HasSubstr(absl::StrCat("the maximum of ", max)),
            HasSubstr(absl::StrCat("raise budgets.module.", GetParam().name))));
}

Bytes ModuleOfSize(uint64_t n) {
  // Three for the smallest, which is the header alone.
  if (n == 3) return Module({});
  return Module({{0x00}});
}

Bytes ImportedMemories(uint64_t n) {
  return Module({Section(2, VecOf(n, {0x00, 0x00, 0x02, 0x00, 0x00}))});
}

std::vector<LimitRow> LimitRows() {
  return {
      {"bytes", ModuleOfSize, 0},
      {"functions",
       [](uint64_t n) {
         return Module({Section(1, Vec({EmptyType()})),
                        Section(2, Vec({{0x00, 0x00, 0x00, 0x00}})),
                        Section(3, VecOf(n - 1, U(0))),
                        Section(10, VecOf(n - 1, Body({})))});
       },
       23},
      {"imports",
       [](uint64_t n) {
         return Module({Section(1, Vec({EmptyType()})),
                        Section(2, VecOf(n, {0x00, 0x00, 0x00, 0x00}))});
       },
       16},
      {"exports",
       [](uint64_t n) {
         std::vector<Bytes> exports;
         for (uint64_t i = 0; i < n; ++i) {
           exports.push_back({0x01, static_cast<uint8_t>('a' + i), 0x00, 0x00});
         }
         return ModuleWithExports(exports);
       },
       20},
      {"types",
       [](uint64_t n) { return Module({Section(1, VecOf(n, EmptyType()))}); },
       10},
      {"locals_per_function",
       [](uint64_t n) {
         return ModuleWithRawBody(
             Join({U(2), U(n - 1), {0x7f}, U(1), {0x7e, 0x0b}}));
       },
       53},
      {"locals_total",
       [](uint64_t n) {
         const Bytes one = RawBody({0x01, 0x01, 0x7f, 0x0b});
         return Module({Section(1, Vec({EmptyType()})),
                        Section(3, VecOf(n, U(0))),
                        Section(10, VecOf(n, one))});
       },
       40},
      {"params_per_function",
       [](uint64_t n) {
         return Module(
             {Section(1, Vec({FunctionType(Repeat({0x7f}, n), {})}))});
       },
       12},
      {"results_per_function",
       [](uint64_t n) {
         return Module(
             {Section(1, Vec({FunctionType({}, Repeat({0x7f}, n))}))});
       },
       13},
      {"nesting_depth",
       [](uint64_t n) {
         return ModuleWithCode(
             Join({Repeat({0x02, 0x40}, n), Repeat({0x0b}, n)}));
       },
       60},
      {"br_table_targets",
       [](uint64_t n) {
         return ModuleWithCode(
             Join({{0x41, 0x00, 0x0e}, U(n), Repeat({0x00}, n + 1)}));
       },
       57},
      {"function_body_bytes",
       [](uint64_t n) {
         return ModuleWithRawBody(
             Join({{0x00}, Repeat({0x01}, n - 2), {0x0b}}));
       },
       52},
      {"memories", ImportedMemories, 29},
      {"memory_pages_initial",
       [](uint64_t n) {
         return Module({Section(5, Vec({Join({{0x00}, U(n)})}))});
       },
       12},
      {"tables",
       [](uint64_t n) {
         return Module({Section(4, VecOf(n, {0x70, 0x00, 0x00}))});
       },
       10},
      {"table_elements_initial",
       [](uint64_t n) {
         return Module({Section(4, Vec({Join({{0x70, 0x00}, U(n)})}))});
       },
       13},
      {"globals",
       [](uint64_t n) {
         return Module({Section(6, VecOf(n, {0x7f, 0x00, 0x41, 0x00, 0x0b}))});
       },
       10},
      {"data_segments",
       [](uint64_t n) {
         return Module({Section(11, VecOf(n, {0x01, 0x00}))});
       },
       10},
      {"element_segments",
       [](uint64_t n) {
         return Module({Section(9, VecOf(n, {0x01, 0x00, 0x00}))});
       },
       10},
      {"element_segment_items_total",
       [](uint64_t n) {
         return Module(
             {Section(9, VecOf(n, {0x05, 0x70, 0x01, 0xd0, 0x70, 0x0b}))});
       },
       31},
      {"custom_section_bytes",
       [](uint64_t n) {
         // The names' lengths count as well.
         return Module({Section(0, {0x00}), Section(0, Repeat({0x00}, n - 1))});
       },
       13},
      {"name_bytes",
       [](uint64_t n) {
         return Module({CustomSection(std::string(n, 'x'), {})});
       },
       10},
  };
}

INSTANTIATE_TEST_SUITE_P(All, Limit, testing::ValuesIn(LimitRows()), RowName());

TEST(LimitRowsTest, CoverEveryLimit) {
  absl::flat_hash_set<std::string> covered;
  for (const LimitRow& row : LimitRows()) covered.insert(row.name);
  for (const LimitName& limit : AllLimits()) {
    EXPECT_TRUE(covered.contains(std::string(limit.name))) << limit.name;
  }
}

struct OtherWayRow {
  std::string name;
  std::string limit;
  // A module that breaks the limit of three in another place than its row.
  Bytes bytes;
};

class LimitReachedAnotherWay : public testing::TestWithParam<OtherWayRow> {};

TEST_P(LimitReachedAnotherWay, IsRefused) {
  const ScanResult result = ScanWithLimit(GetParam().limit, GetParam().bytes);
  ASSERT_TRUE(result.refusal.has_value());
  EXPECT_EQ(result.refusal->kind, Refusal::Kind::kOverLimit);
  EXPECT_EQ(result.refusal->limit, GetParam().limit) << MessageOf(result);
  EXPECT_EQ(result.refusal->value, 4u) << MessageOf(result);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, LimitReachedAnotherWay,
    testing::ValuesIn<OtherWayRow>({
        {"imported_functions", "functions",
         Module({Section(1, Vec({EmptyType()})),
                 Section(2, VecOf(4, {0x00, 0x00, 0x00, 0x00}))})},
        {"own_memories", "memories",
         Module({Section(5, VecOf(4, {0x00, 0x00}))})},
        {"imported_tables", "tables",
         Module({Section(2, VecOf(4, {0x00, 0x00, 0x01, 0x70, 0x00, 0x00}))})},
        {"imported_globals", "globals",
         Module({Section(2, VecOf(4, {0x00, 0x00, 0x03, 0x7f, 0x00}))})},
        {"imported_memory_pages", "memory_pages_initial",
         Module({Section(2, Vec({{0x00, 0x00, 0x02, 0x00, 0x04}}))})},
        {"imported_table_elements", "table_elements_initial",
         Module({Section(2, Vec({{0x00, 0x00, 0x01, 0x70, 0x00, 0x04}}))})},
        {"announced_data_segments", "data_segments",
         Module({Section(12, U(4)), Section(11, VecOf(4, {0x01, 0x00}))})},
        {"import_module_name", "name_bytes",
         Module({Section(1, Vec({EmptyType()})),
                 Section(2, Vec({{4, 'a', 'b', 'c', 'd', 0, 0, 0}}))})},
        {"import_name", "name_bytes",
         Module({Section(1, Vec({EmptyType()})),
                 Section(2, Vec({{0, 4, 'a', 'b', 'c', 'd', 0, 0}}))})},
        {"export_name", "name_bytes",
         ModuleWithExports({{4, 'a', 'b', 'c', 'd', 0, 0}})},
        {"loops_and_ifs", "nesting_depth",
         ModuleWithCode({0x03, 0x40, 0x02, 0x40, 0x41, 0x00, 0x04, 0x40, 0x02,
                         0x40, 0x0b, 0x0b, 0x0b, 0x0b})},
    }),
    RowName());

TEST(NestingTest, CountsOnlyWhatIsOpenAtOnce) {
  ModuleLimits limits;
  limits.nesting_depth = 1;
  const ScanResult result = Scan(
      ModuleWithCode(Repeat({0x02, 0x40, 0x0b}, 1000)), limits, Features{});
  ASSERT_TRUE(result.admitted()) << MessageOf(result);
  EXPECT_EQ(result.summary->deepest_nesting, 1u);
}

// Inputs of a few bytes, or of a few megabytes, on which other engines ran out
// of stack, of memory or of time.
struct BombRow {
  std::string name;
  Bytes bytes;
  std::string limit;
  uint64_t value;
};

class Bomb : public testing::TestWithParam<BombRow> {};

TEST_P(Bomb, IsRefusedByTheDefaults) {
  const ScanResult result = Scan(GetParam().bytes, ModuleLimits{}, Features{});
  ASSERT_TRUE(result.refusal.has_value());
  EXPECT_EQ(result.refusal->kind, Refusal::Kind::kOverLimit)
      << result.refusal->message;
  EXPECT_EQ(result.refusal->limit, GetParam().limit) << result.refusal->message;
  EXPECT_EQ(result.refusal->value, GetParam().value);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, Bomb,
    testing::ValuesIn<BombRow>({
        {"nested_ifs",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(10, Vec({Body(Join({Repeat({0x41, 0x00, 0x04, 0x40},
                                                    200000),
                                             Repeat({0x0b}, 200000)}))}))}),
         "nesting_depth", 4097},
        {"announced_data", Module({Section(12, U(0xfffffff0))}),
         "data_segments", 0xfffffff0},
        {"table_of_all_entries",
         Module({Section(4, Vec({Join({{0x70, 0x00}, U(0xffffffff)})}))}),
         "table_elements_initial", 0xffffffff},
        {"memory_of_4_gib",
         Module({Section(5, Vec({Join({{0x00}, U(65536)})}))}),
         "memory_pages_initial", 65536},
        {"locals_268_million",
         ModuleWithRawBody(Join({U(1), U(268435456), {0x7e, 0x0b}})),
         "locals_per_function", 268435456},
        {"locals_of_all_numbers",
         ModuleWithRawBody(Join({U(1), U(0xffffffff), {0x7e, 0x0b}})),
         "locals_per_function", 0xffffffff},
        {"locals_one_by_one",
         ModuleWithRawBody(Join({VecOf(1001, {0x01, 0x7f}), {0x0b}})),
         "locals_per_function", 1001},
        {"functions_2_million",
         Module({Section(1, Vec({EmptyType()})),
                 Section(3, VecOf(2000000, U(0))),
                 Section(10, VecOf(2000000, Body({})))}),
         "functions", 2000000},
        {"types_200_thousand", Module({Section(1, VecOf(200000, EmptyType()))}),
         "types", 200000},
        {"parameters_1000",
         Module({Section(1, Vec({FunctionType(Repeat({0x7f}, 1000), {})}))}),
         "params_per_function", 1000},
        {"br_table_1_million",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(10, Vec({Body(Join({{0x41, 0x00, 0x0e},
                                             U(1000000),
                                             Repeat({0x00}, 1000001)}))}))}),
         "br_table_targets", 1000000},
        {"name_1_mebibyte",
         Module({CustomSection(std::string(1 << 20, 'n'), {})}), "name_bytes",
         1 << 20},
    }),
    RowName());

TEST(BytesLimitTest, IsCheckedBeforeAnythingIsRead) {
  const Bytes bytes(8 * 1024 * 1024 + 1, 0xff);
  const ScanResult result = Scan(bytes, ModuleLimits{}, Features{});
  ASSERT_TRUE(result.refusal.has_value());
  EXPECT_EQ(result.refusal->limit, "bytes");
  EXPECT_EQ(result.steps, 0u);
}

struct CostRow {
  std::string name;
  std::function<Bytes(uint64_t n)> make;
};

class Cost : public testing::TestWithParam<CostRow> {};

TEST_P(Cost, DoublesWithTheInput) {
  const Bytes small = GetParam().make(20000);
  const Bytes large = GetParam().make(40000);
  const ScanResult of_small = Scan(small, NoLimits(), EveryFeature());
  const ScanResult of_large = Scan(large, NoLimits(), EveryFeature());
  ASSERT_TRUE(of_small.admitted()) << MessageOf(of_small);
  ASSERT_TRUE(of_large.admitted()) << MessageOf(of_large);
  EXPECT_LE(static_cast<double>(of_large.steps),
            2.2 * static_cast<double>(of_small.steps));
  EXPECT_LE(of_large.steps, kStepsPerByte * large.size() + kStepsBase);
  EXPECT_GT(of_small.steps, small.size() / 16);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Cost,
    testing::ValuesIn<CostRow>({
        {"nested_blocks",
         [](uint64_t n) {
           return ModuleWithCode(
               Join({Repeat({0x02, 0x40}, n), Repeat({0x0b}, n)}));
         }},
        {"branches_out_of_deep_blocks",
         [](uint64_t n) {
           return ModuleWithCode(
               Join({Repeat({0x02, 0x40}, n), Repeat(Join({{0x0c}, U(n)}), n),
                     Repeat({0x0b}, n)}));
         }},
        {"rethrows_in_deep_catches",
         [](uint64_t n) {
           return ModuleWithTag(
               Join({Repeat({0x06, 0x40, 0x19}, n),
                     Repeat(Join({{0x09}, U(n - 1)}), n), Repeat({0x0b}, n)}));
         }},
        {"br_table",
         [](uint64_t n) {
           return ModuleWithCode(
               Join({{0x41, 0x00, 0x0e}, U(n), Repeat({0x00}, n + 1)}));
         }},
        {"types",
         [](uint64_t n) {
           return Module({Section(1, VecOf(n, FunctionType({0x7f}, {0x7e})))});
         }},
        {"functions",
         [](uint64_t n) {
           return Module({Section(1, Vec({EmptyType()})),
                          Section(3, VecOf(n, U(0))),
                          Section(10, VecOf(n, Body({})))});
         }},
        {"local_groups",
         [](uint64_t n) {
           return ModuleWithRawBody(Join({VecOf(n, {0x01, 0x7f}), {0x0b}}));
         }},
        {"imports",
         [](uint64_t n) {
           return Module(
               {Section(1, Vec({EmptyType()})),
                Section(2, VecOf(n, {0x01, 'm', 0x01, 'f', 0x00, 0x00}))});
         }},
        {"exports",
         [](uint64_t n) {
           std::vector<Bytes> exports;
           for (uint64_t i = 0; i < n; ++i) {
             exports.push_back(Join({Name(absl::StrCat("export", i)), {0, 0}}));
           }
           return ModuleWithExports(exports);
         }},
        {"globals",
         [](uint64_t n) {
           return Module(
               {Section(6, VecOf(n, {0x7f, 0x00, 0x41, 0x00, 0x0b}))});
         }},
        {"elements",
         [](uint64_t n) {
           return Module(
               {Section(9, VecOf(n, {0x05, 0x70, 0x01, 0xd0, 0x70, 0x0b}))});
         }},
        {"data",
         [](uint64_t n) {
           return Module({Section(11, VecOf(n, {0x01, 0x00}))});
         }},
        {"operators_in_one_constant_expression",
         [](uint64_t n) {
           return ModuleWithGlobal(
               Join({{0x41, 0x00}, Repeat({0x41, 0x01, 0x6a}, n), {0x0b}}));
         }},
        {"custom_sections",
         [](uint64_t n) {
           return Module({Repeat(CustomSection("x", {1, 2, 3}), n)});
         }},
        {"names_of_long_characters",
         [](uint64_t n) {
           return Module({Section(
               0, Join({U(n * 4), Repeat({0xf0, 0x9f, 0x98, 0x80}, n)}))});
         }},
    }),
    RowName());

}  // namespace
}  // namespace callgate::admission
