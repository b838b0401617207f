#include "server/cli/arguments.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

namespace callgate::cli {
namespace {

constexpr Flag kFlags[] = {
    {"policy", "NAME|FILE", ""},
    {"dir", "HOST::GUEST", "", true},
    {"json", "", ""},
    {"output", "text|json", "", false, 'o', "text|json"},
};

struct GoodRow {
  std::string name;
  std::vector<std::string> tokens;
  std::string policy;
  std::vector<std::string> dirs;
  bool json = false;
  std::vector<std::string> operands;
  std::vector<std::string> rest;
};

class ArgumentsTest : public testing::TestWithParam<GoodRow> {};

TEST_P(ArgumentsTest, TakesTheLineApart) {
  const GoodRow& row = GetParam();
  const auto arguments = Arguments::Parse(row.tokens, kFlags);
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->Get("policy").value_or(""), row.policy);
  EXPECT_EQ(arguments->All("dir"), row.dirs);
  EXPECT_EQ(arguments->Has("json"), row.json);
  EXPECT_EQ(arguments->operands(), row.operands);
  EXPECT_EQ(arguments->rest(), row.rest);
}

INSTANTIATE_TEST_SUITE_P(
    Lines, ArgumentsTest,
    testing::ValuesIn<GoodRow>({
        {"nothing", {}, "", {}, false, {}, {}},
        {"separate_value", {"--policy", "web"}, "web", {}, false, {}, {}},
        {"joined_value", {"--policy=web"}, "web", {}, false, {}, {}},
        {"joined_value_with_equals",
         {"--policy=a=b"},
         "a=b",
         {},
         false,
         {},
         {}},
        {"empty_joined_value", {"--policy="}, "", {}, false, {}, {}},
        {"repeated",
         {"--dir", "a::b", "--dir=c::d"},
         "",
         {"a::b", "c::d"},
         false,
         {},
         {}},
        {"operands_around_flags",
         {"one", "--json", "two", "--policy", "p", "three"},
         "p",
         {},
         true,
         {"one", "two", "three"},
         {}},
        {"rest_is_untouched",
         {"one", "--", "--json", "--", "-x", ""},
         "",
         {},
         false,
         {"one"},
         {"--json", "--", "-x", ""}},
        {"negative_numbers_are_operands",
         {"-5", "-0.5", "-.5"},
         "",
         {},
         false,
         {"-5", "-0.5", "-.5"},
         {}},
        {"a_dash_alone_is_an_operand", {"-"}, "", {}, false, {"-"}, {}},
        {"a_negative_number_is_a_value",
         {"--policy", "-5"},
         "-5",
         {},
         false,
         {},
         {}},
        {"a_flag_without_value_twice",
         {"--json", "--json"},
         "",
         {},
         true,
         {},
         {}},
    }),
    [](const auto& param) { return param.param.name; });

struct BadRow {
  std::string name;
  std::vector<std::string> tokens;
  std::string message;
};

class ArgumentsRefusal : public testing::TestWithParam<BadRow> {};

TEST_P(ArgumentsRefusal, NamesTheTokenAndTheFix) {
  const auto arguments = Arguments::Parse(GetParam().tokens, kFlags);
  ASSERT_FALSE(arguments.ok());
  EXPECT_EQ(arguments.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(arguments.status().message(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Lines, ArgumentsRefusal,
    testing::ValuesIn<BadRow>({
        {"misspelt",
         {"--polcy", "x"},
         "unknown flag \"--polcy\", did you mean --policy?"},
        {"misspelt_with_value",
         {"--outptu=json"},
         "unknown flag \"--outptu=json\", did you mean --output?"},
        {"unknown", {"--frobnicate"}, "unknown flag \"--frobnicate\""},
        {"unknown_letter", {"-x"}, "unknown flag \"-x\""},
        {"escape_in_a_flag",
         {"--\x1b[2Jfrobnicate"},
         "unknown flag \"--\\x1b[2Jfrobnicate\""},
        {"value_missing_at_the_end",
         {"--policy"},
         "--policy needs a value: --policy NAME|FILE"},
        {"value_missing_before_a_flag",
         {"--policy", "--json"},
         "--policy needs a value: --policy NAME|FILE"},
        {"value_missing_before_the_rest",
         {"--policy", "--"},
         "--policy needs a value: --policy NAME|FILE"},
        {"value_not_wanted",
         {"--json=1"},
         "--json takes no value, found \"--json=1\""},
        {"twice",
         {"--policy", "a", "--policy", "b"},
         "--policy is given twice: \"a\" and \"b\""},
        {"not_a_choice",
         {"-o", "xml"},
         "--output cannot be \"xml\", only text|json"},
        {"not_a_choice_joined",
         {"-oxml"},
         "--output cannot be \"xml\", only text|json"},
    }),
    [](const auto& param) { return param.param.name; });

TEST(ArgumentsLetterTest, TakesItsValueJoinedOrNot) {
  for (const std::vector<std::string>& tokens :
       {std::vector<std::string>{"-o", "json"},
        std::vector<std::string>{"-ojson"},
        std::vector<std::string>{"--output=json"}}) {
    const auto arguments = Arguments::Parse(tokens, kFlags);
    ASSERT_TRUE(arguments.ok()) << arguments.status();
    EXPECT_EQ(arguments->Get("output"), "json");
  }
}

TEST(NearestTest, FindsMisspellingsAndNothingElse) {
  const std::vector<absl::string_view> names = {"push", "ls", "show", "rm",
                                                "verify"};
  EXPECT_EQ(Nearest("psuh", names), "push");
  EXPECT_EQ(Nearest("verfy", names), "verify");
  EXPECT_EQ(Nearest("list", names), "");
  EXPECT_EQ(Nearest("", names), "");
  EXPECT_EQ(Nearest(std::string(100000, 'v'), names), "");
}

}  // namespace
}  // namespace callgate::cli
