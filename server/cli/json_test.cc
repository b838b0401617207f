#include "server/cli/json.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace callgate::cli {
namespace {

struct Row {
  std::string name;
  std::string bytes;
  std::string json;
};

class JsonStringTest : public testing::TestWithParam<Row> {};

TEST_P(JsonStringTest, IsJsonWhateverTheBytes) {
  EXPECT_EQ(JsonString(GetParam().bytes), GetParam().json);
}

INSTANTIATE_TEST_SUITE_P(
    Bytes, JsonStringTest,
    testing::ValuesIn<Row>({
        {"empty", "", "\"\""},
        {"plain", "abc", "\"abc\""},
        {"quotes", "a\"b\\c", R"("a\"b\\c")"},
        {"lines", "a\nb\tc\r", R"("a\nb\tc\u000d")"},
        {"terminal", "\x1b[2J", R"("\u001b[2J")"},
        {"nul", std::string("a\0b", 3), R"("a\u0000b")"},
        {"c1_control", "\xc2\x9b", R"("\u009b")"},
        {"utf8", "h\xc3\xa9 \xf0\x9f\x98\x80",
         "\"h\xc3\xa9 \xf0\x9f\x98\x80\""},
        {"right_to_left", "\xe2\x80\xae", R"("\u202e")"},
        {"stray_byte",
         "a\xff"
         "b",
         "\"a\xef\xbf\xbd"
         "b\""},
        {"cut_off", "a\xe2\x80", "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
        {"overlong", "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"surrogate", "\xed\xa0\x80",
         "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    }),
    [](const auto& param) { return param.param.name; });

TEST(JsonObjectTest, KeepsTheOrder) {
  EXPECT_EQ(JsonObject()
                .Text("b", "x")
                .Number("a", -1)
                .Unsigned("u", std::numeric_limits<uint64_t>::max())
                .Real("r", 0.25)
                .Real("n", std::numeric_limits<double>::infinity())
                .Bool("t", true)
                .Raw("l", JsonArray({"1", "{}"}))
                .ToString(),
            R"({"b":"x","a":-1,"u":18446744073709551615,"r":0.25,"n":null,)"
            R"("t":true,"l":[1,{}]})");
  EXPECT_EQ(JsonObject().ToString(), "{}");
}

TEST(IsUtf8Test, TellsTextFromBytes) {
  EXPECT_TRUE(IsUtf8("h\xc3\xa9"));
  EXPECT_FALSE(IsUtf8("\xff"));
  EXPECT_TRUE(IsUtf8(""));
}

}  // namespace
}  // namespace callgate::cli
