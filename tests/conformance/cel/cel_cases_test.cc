#include "tests/conformance/cel/cel_cases.h"

#include <cstdlib>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace callgate {
namespace {

CelResult RunOne(const std::string& fields) {
  const absl::StatusOr<CelResult> result = RunCelFile(absl::StrCat(
      "name: 'f' section { name: 's' test { name: 't' ", fields, " } }"));
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *result : CelResult();
}

struct Row {
  std::string name;
  std::string fields;
  int passed = 0, refused = 0, failed = 0;
};

class Case : public testing::TestWithParam<Row> {};

TEST_P(Case, IsJudged) {
  const CelResult result = RunOne(GetParam().fields);
  EXPECT_EQ(result.passed, GetParam().passed);
  EXPECT_EQ(result.refused, GetParam().refused);
  EXPECT_EQ(result.failed, GetParam().failed);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, Case,
    testing::Values(
        Row{"right", "expr: '1 + 1' value: { int64_value: 2 }", 1, 0, 0},
        Row{"wrong_value", "expr: '1 + 1' value { int64_value: 3 }", 0, 0, 1},
        Row{"wrong_kind", "expr: '1 + 1' value { uint64_value: 2 }", 0, 0, 1},
        Row{"error_wanted", "expr: '1 / 0' eval_error { errors {} }", 1, 0, 0},
        Row{"value_for_error", "expr: '1' eval_error { errors {} }", 0, 0, 1},
        Row{"error_for_value", "expr: '1 / 0' value { int64_value: 1 }", 0, 0,
            1},
        Row{"map", "expr: '{}' value { map_value {} }", 0, 1, 0},
        Row{"type_error", "expr: '1 + 1u' value { int64_value: 2 }", 0, 0, 1},
        Row{"unchecked",
            "expr: '1 + 1u' disable_check: true value { int64_value: 2 }", 0, 1,
            0},
        Row{"error_said_before", "expr: \"duration('1x')\" eval_error {}", 1, 0,
            0},
        Row{"value_wanted_of_it",
            "expr: \"duration('1x')\" value { int64_value: 1 }", 0, 0, 1},
        Row{"mistake_for_an_error", "expr: '1 + 1u' eval_error {}", 0, 0, 1},
        Row{"typed", "expr: '7' typed_result { result { int64_value: 7 } }", 1,
            0, 0},
        Row{"typed_wrong",
            "expr: '7' typed_result { result { int64_value: 8 } }", 0, 0, 1},
        Row{"check_only", "expr: '7' check_only: true typed_result {}", 1, 0,
            0},
        Row{"unknown_name", "expr: 'x' value { int64_value: 1 }", 0, 0, 1},
        Row{"name_of_an_enum", "expr: 'a.Enum.FOO' value { int64_value: 1 }", 0,
            1, 0},
        Row{"message",
            "expr: 'x' type_env { name: 'x' ident { type { message_type: 'M' } "
            "} } value { int64_value: 1 }",
            0, 1, 0},
        Row{"hosts_function",
            "expr: 'f(1)' type_env { name: 'f' function {} } value { "
            "int64_value: 1 }",
            0, 1, 0},
        Row{"no_such_function", "expr: 'f(1)' value { int64_value: 1 }", 0, 0,
            1},
        Row{"syntax_error", "expr: '1 +' value { int64_value: 2 }", 0, 0, 1},
        Row{"list",
            "expr: '[1, x]' type_env { name: 'x' ident { type { primitive: "
            "INT64 } } } bindings { key: 'x' value { value { int64_value: 2 } "
            "} } value { list_value { values { int64_value: 1 } values { "
            "int64_value: 2 } } }",
            1, 0, 0}),
    [](const testing::TestParamInfo<Row>& row) { return row.param.name; });

TEST(PromisedFeatures, AreToldFromOthers) {
  EXPECT_TRUE(UsesOnlyPromisedFeatures("[1].exists(x, x > 2u)", {}));
  EXPECT_TRUE(UsesOnlyPromisedFeatures("a.b == r'\\' + \"{}\"", {"a.b"}));
  EXPECT_FALSE(UsesOnlyPromisedFeatures("x", {}));
  EXPECT_FALSE(UsesOnlyPromisedFeatures("{}", {}));
  EXPECT_FALSE(UsesOnlyPromisedFeatures("int('1')", {}));
}

// What the subset leaves out, and nothing that it promises.
TEST(CelSpec, GivesTheStatedValueOrNamesWhatIsLeftOut) {
  const char* const corpus = std::getenv("CALLGATE_CORPUS");
  if (corpus == nullptr) GTEST_SKIP() << "skipped: no corpus";
  const absl::StatusOr<CelResult> result =
      RunCelFolder(absl::StrCat(corpus, "/cel"));
  ASSERT_TRUE(result.ok()) << result.status();
  for (const std::string& failure : result->failures) {
    ADD_FAILURE() << failure;
  }
  const std::set<std::string> left_out = {
      "map",
      "message",
      "type conversion",
      "timestamp from text",
      "macro that makes a list",
      "evaluation without type checks",
  };
  int refused = 0;
  for (const auto& [feature, cases] : result->refused_by_feature) {
    EXPECT_EQ(left_out.count(feature), 1u) << feature << ": " << cases[0];
    refused += static_cast<int>(cases.size());
  }
  EXPECT_EQ(result->refused, refused);
  EXPECT_EQ(result->passed + result->refused, 910);
  EXPECT_GE(result->passed, 600);
}

}  // namespace
}  // namespace callgate
