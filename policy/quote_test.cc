#include "policy/quote.h"

#include <string>

#include "gtest/gtest.h"

namespace callgate::policy {
namespace {

struct Row {
  std::string name;
  std::string text;
  std::string want;
};

class EscapeTest : public testing::TestWithParam<Row> {};

TEST_P(EscapeTest, ShowsWhatCouldMislead) {
  EXPECT_EQ(EscapeText(GetParam().text), GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(
    Texts, EscapeTest,
    testing::ValuesIn<Row>({
        {"plain", "net.send", "net.send"},
        {"umlaut", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"newline", "a\nb\r\tc", "a\\nb\\r\\tc"},
        {"escape_sequence", "\x1b[31mred", "\\u{1b}[31mred"},
        {"nul", std::string("a\0b", 3), "a\\u{0}b"},
        {"delete", "a\x7f", "a\\u{7f}"},
        {"c1_control", "a\xc2\x9b", "a\\u{9b}"},
        {"quotes", "say \"hi\" \\", "say \\\"hi\\\" \\\\"},
        {"right_to_left_override", "a\xe2\x80\xae", "a\\u{202e}"},
        {"isolate", "a\xe2\x81\xa6", "a\\u{2066}"},
        {"zero_width_space", "a\xe2\x80\x8b", "a\\u{200b}"},
        {"line_separator", "a\xe2\x80\xa8", "a\\u{2028}"},
        {"byte_order_mark", "\xef\xbb\xbf", "\\u{feff}"},
        {"tag_character", "\xf3\xa0\x81\x81", "\\u{e0041}"},
        {"not_utf8", "a\xff\xc3", "a\\u{fffd}\\u{fffd}"},
        {"overlong", "\xc0\xaf", "\\u{fffd}\\u{fffd}"},
        {"surrogate", "\xed\xa0\x80", "\\u{fffd}\\u{fffd}\\u{fffd}"},
        {"past_unicode", "\xf4\x90\x80\x80",
         "\\u{fffd}\\u{fffd}\\u{fffd}\\u{fffd}"},
    }),
    [](const auto& test) { return test.param.name; });

TEST(QuoteTest, CutsOffBetweenCharacters) {
  EXPECT_EQ(Quote("abc", 3), "\"abc\"");
  EXPECT_EQ(Quote("abcd", 3), "\"abc\"…");
  EXPECT_EQ(Quote("ab\xc3\xbc", 3), "\"ab\"…");
}

TEST(QuoteTest, MeasuresValidPrefix) {
  EXPECT_EQ(ValidUtf8Prefix("abc"), 3u);
  EXPECT_EQ(ValidUtf8Prefix("ab\xff"), 2u);
  EXPECT_EQ(ValidUtf8Prefix("\xe2\x82"), 0u);
  EXPECT_EQ(ValidUtf8Prefix("\xe2\x82\xac"), 3u);
}

}  // namespace
}  // namespace callgate::policy
