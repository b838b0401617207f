#include "policy/import_name.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::policy {
namespace {

struct Row {
  std::string name;
  std::string text;
  ImportName want;
};

class ParseImportNameTest : public testing::TestWithParam<Row> {};

TEST_P(ParseImportNameTest, ReadsBothNames) {
  const auto parsed = ParseImportName(GetParam().text);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->module, GetParam().want.module);
  EXPECT_EQ(parsed->name, GetParam().want.name);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, ParseImportNameTest,
    testing::ValuesIn<Row>({
        {"plain", "net.send", {"net", "send"}},
        {"first_dot_splits", "a.b.c", {"a", "b.c"}},
        {"other_characters", "wasi:io/poll@0.2.0", {"wasi:io/poll@0", "2.0"}},
        {"quoted", R"("a.b"."c")", {"a.b", "c"}},
        {"quoted_empty", R"(""."")", {"", ""}},
        {"quoted_star", R"("net"."*")", {"net", "*"}},
        {"escapes", R"("a\"\\"."\n\r\t")", {"a\"\\", "\n\r\t"}},
        {"code_point", R"("\u{1b}"."\u{20ac}")", {"\x1b", "\xe2\x82\xac"}},
        {"four_bytes", R"("\u{10ffff}"."x")", {"\xf4\x8f\xbf\xbf", "x"}},
        {"raw_utf8", "\"\xe2\x82\xac\".\"x\"", {"\xe2\x82\xac", "x"}},
    }),
    [](const auto& test) { return test.param.name; });

struct BadRow {
  std::string name;
  std::string text;
  std::string complaint;
};

class BadImportNameTest : public testing::TestWithParam<BadRow> {};

TEST_P(BadImportNameTest, SaysWhatIsWrong) {
  const auto parsed = ParseImportName(GetParam().text);
  ASSERT_FALSE(parsed.ok());
  EXPECT_THAT(std::string(parsed.status().message()),
              testing::HasSubstr(GetParam().complaint));
}

INSTANTIATE_TEST_SUITE_P(
    Forms, BadImportNameTest,
    testing::ValuesIn<BadRow>({
        {"empty", "", "names no import"},
        {"no_dot", "send", "has no dot"},
        {"no_module", ".send", "empty module name"},
        {"no_name", "net.", "empty function name"},
        {"wildcard_name", "net.*", "wildcard"},
        {"wildcard_module", "*.send", "wildcard"},
        {"blank", "net. send", "must stand in quotes"},
        {"not_ascii", "net.\xc3\xbc", "must stand in quotes"},
        {"not_utf8", "net.\xff", "is not UTF-8"},
        {"open_quote", "\"net.send", "bad quoted module name"},
        {"only_module", "\"net\"", "no dot after"},
        {"plain_after_quoted", "\"net\".send", "bad quoted function name"},
        {"tail", R"("net"."send" )", "goes on after"},
        {"bad_escape", R"("\x41"."b")", "bad quoted module name"},
        {"bad_code_point", R"("\u{d800}"."b")", "bad quoted module name"},
        {"large_code_point", R"("\u{110000}"."b")", "bad quoted module name"},
        {"empty_code_point", R"("\u{}"."b")", "bad quoted module name"},
        {"escape_at_end", "\"a\\", "bad quoted module name"},
    }),
    [](const auto& test) { return test.param.name; });

TEST(FormatImportNameTest, IsReadBack) {
  const std::vector<ImportName> names = {
      {"net", "send"}, {"a", "b.c"},   {"a.b", "c"},    {"", ""},
      {"x", "*"},      {"a\"b", "\\"}, {"\n", "\x1b["}, {"\xe2\x80\xae", "x"},
      {"ünï", "cödé"},
  };
  for (const ImportName& name : names) {
    const std::string text = FormatImportName(name.module, name.name);
    const auto parsed = ParseImportName(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(*parsed, name) << text;
  }
}

TEST(FormatImportNameTest, IsPlainWherePossible) {
  EXPECT_EQ(FormatImportName("net", "send"), "net.send");
  EXPECT_EQ(FormatImportName("a", "b.c"), "a.b.c");
  EXPECT_EQ(FormatImportName("a.b", "c"), R"("a.b"."c")");
  EXPECT_EQ(FormatImportName("net", "\x1b[2J"), R"("net"."\u{1b}[2J")");
}

}  // namespace
}  // namespace callgate::policy
