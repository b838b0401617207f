#include "server/events/escape.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::events {
namespace {

struct Row {
  std::string name;
  std::string text;
  std::string shown;
};
class Escaping : public testing::TestWithParam<Row> {};

TEST_P(Escaping, ShowsCodes) {
  EXPECT_EQ(EscapeText(GetParam().text), GetParam().shown);
}

TEST_P(Escaping, ChangesNothingTwice) {
  EXPECT_EQ(EscapeText(GetParam().shown), GetParam().shown);
  EXPECT_TRUE(IsPlainText(GetParam().shown));
  EXPECT_EQ(IsPlainText(GetParam().text), GetParam().text == GetParam().shown);
}

INSTANTIATE_TEST_SUITE_P(
    Texts, Escaping,
    testing::ValuesIn<Row>({
        {"empty", "", ""},
        {"plain", "env.clock", "env.clock"},
        {"quote_and_backslash", R"(a"b\c)", R"(a"b\c)"},
        {"newline", "a\nlevel=info", R"(a\x0alevel=info)"},
        {"carriage_return", "a\rb", R"(a\x0db)"},
        {"tab", "a\tb", R"(a\x09b)"},
        {"escape", "\x1b[2J", R"(\x1b[2J)"},
        {"bell_and_backspace", "\a\b", R"(\x07\x08)"},
        {"nul", std::string("a\0b", 3), R"(a\x00b)"},
        {"delete", "\x7f", R"(\x7f)"},
        {"c1_control_sequence",
         "\xc2\x9b"
         "2J",
         R"(\u{9b}2J)"},
        {"letters", "Grüße 你好 🙂", "Grüße 你好 🙂"},
        {"right_to_left_override",
         "a\xe2\x80\xae"
         "b",
         R"(a\u{202e}b)"},
        {"isolate", "\xe2\x81\xa6", R"(\u{2066})"},
        {"arabic_letter_mark", "\xd8\x9c", R"(\u{61c})"},
        {"line_separator", "\xe2\x80\xa8", R"(\u{2028})"},
        {"zero_width_space", "\xe2\x80\x8b", R"(\u{200b})"},
        {"byte_order_mark", "\xef\xbb\xbf", R"(\u{feff})"},
        {"tag", "\xf3\xa0\x81\x81", R"(\u{e0041})"},
        {"lone_continuation", "a\x80z", R"(a\x80z)"},
        {"overlong_slash", "\xc0\xaf", R"(\xc0\xaf)"},
        {"overlong_nul", "\xe0\x80\x80", R"(\xe0\x80\x80)"},
        {"surrogate", "\xed\xa0\x80", R"(\xed\xa0\x80)"},
        {"past_the_last", "\xf4\x90\x80\x80", R"(\xf4\x90\x80\x80)"},
        {"never_utf8", "\xff\xfe", R"(\xff\xfe)"},
        {"cut_short", "\xe2\x80", R"(\xe2\x80)"},
        {"bad_then_good",
         "\xe2"
         "ab",
         R"(\xe2ab)"},
    }),
    [](const auto& param) { return param.param.name; });

TEST(EscapeTextTest, LeavesNothingThatATerminalActsOn) {
  // Every byte, alone and beside each other one.
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string text = {static_cast<char>(first),
                                static_cast<char>(second)};
      const std::string shown = EscapeText(text);
      ASSERT_LE(shown.size(), 6 * text.size());
      ASSERT_TRUE(IsPlainText(shown)) << first << " " << second;
      for (const char c : shown) {
        ASSERT_FALSE(static_cast<unsigned char>(c) < 0x20 || c == '\x7f');
      }
    }
  }
}

TEST(EscapeTextTest, CutsAtACharactersEnd) {
  EXPECT_EQ(EscapeText("abcdef", 6), "abcdef");
  EXPECT_EQ(EscapeText("abcdefg", 6), "abc...");
  EXPECT_EQ(EscapeText("ab\xe2\x82\xac"
                       "def",
                       7),
            "ab...");
  EXPECT_EQ(EscapeText("ab\xe2\x82\xac"
                       "def",
                       8),
            "ab\xe2\x82\xac"
            "def");
  EXPECT_EQ(EscapeText("a\nb\nc", 11), "a\\x0ab\\x0ac");
  EXPECT_EQ(EscapeText("a\nb\nc", 10), "a\\x0ab...");
  EXPECT_EQ(EscapeText("abc", 2), "");
  EXPECT_EQ(EscapeText("abcd", 3), "...");
  for (size_t bytes_max = 0; bytes_max < 40; ++bytes_max) {
    const std::string shown =
        EscapeText("x\n\xe2\x82\xac\xff\xe2\x80\xae yz\x1b tail", bytes_max);
    ASSERT_LE(shown.size(), bytes_max);
    ASSERT_TRUE(IsPlainText(shown));
  }
}

TEST(JsonStringTest, QuotesAndEscapes) {
  EXPECT_EQ(JsonString(""), R"("")");
  EXPECT_EQ(JsonString(R"(say "hi" \ bye)"), R"("say \"hi\" \\ bye")");
  EXPECT_EQ(JsonString("a\nb"), R"("a\\x0ab")");
  EXPECT_EQ(JsonString("\xff"), R"("\\xff")");
  EXPECT_EQ(JsonString("ü"), "\"ü\"");
}

}  // namespace
}  // namespace callgate::events
