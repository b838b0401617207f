#include "runtime/function_filter.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace callgate {
namespace {

FunctionFilter Pattern(absl::string_view pattern) {
  FunctionFilter filter;
  const absl::Status added = filter.AddPattern(pattern);
  EXPECT_TRUE(added.ok()) << added;
  return filter;
}

struct Row {
  std::string name;
  std::string pattern;
  std::vector<std::string> yes;
  std::vector<std::string> no;
};

class FunctionFilterPatterns : public testing::TestWithParam<Row> {};

TEST_P(FunctionFilterPatterns, Match) {
  const FunctionFilter filter = Pattern(GetParam().pattern);
  for (const std::string& name : GetParam().yes) {
    EXPECT_TRUE(filter.HasName(name)) << name;
  }
  for (const std::string& name : GetParam().no) {
    EXPECT_FALSE(filter.HasName(name)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rows, FunctionFilterPatterns,
    testing::ValuesIn<Row>({
        {"itself", "parse", {"parse"}, {"", "pars", "parse_", "_parse"}},
        {"prefix", "parse_*", {"parse_", "parse_json"}, {"parse", "xparse_"}},
        {"suffix", "*_free", {"_free", "a_free", "_free_free"}, {"_free_"}},
        {"middle", "a*b", {"ab", "a-b", "abb", "aab"}, {"a", "ba", "abc"}},
        {"all", "*", {"", "x", "anything"}, {}},
        {"stars", "**", {"", "x"}, {}},
        {"one", "?", {"x", "*", "?"}, {"", "xx"}},
        {"at_least_two", "?*?", {"xy", "xyz"}, {"", "x"}},
        {"again", "*aab", {"aab", "aaab", "aabaab"}, {"aaba", "ab"}},
        {"overlap", "*ana*ana*", {"anaana", "banana_ana"}, {"ana", "anana"}},
        {"taken", "\\*\\?\\\\", {"*?\\"}, {"ab\\", "*?", "\\*\\?\\\\"}},
        {"case", "Parse", {"Parse"}, {"parse"}},
        {"bytes", "\xff?", {"\xff\x01", "\xff\xff"}, {"\xfe\x01"}},
    }),
    [](const auto& row) { return row.param.name; });

TEST(FunctionFilterTest, MeansNothingAtFirst) {
  const FunctionFilter filter;
  EXPECT_TRUE(filter.empty());
  EXPECT_FALSE(filter.HasName(""));
  EXPECT_FALSE(filter.HasIndex(0));
}

TEST(FunctionFilterTest, HasExactNames) {
  FunctionFilter filter;
  ASSERT_TRUE(filter.AddName("a*").ok());
  EXPECT_TRUE(filter.HasName("a*"));
  EXPECT_FALSE(filter.HasName("ab"));
}

TEST(FunctionFilterTest, ReadsIndexesAndPatterns) {
  FunctionFilter filter;
  ASSERT_TRUE(filter.Add("#0").ok());
  ASSERT_TRUE(filter.Add("#4294967295").ok());
  ASSERT_TRUE(filter.Add("\\#7").ok());
  EXPECT_TRUE(filter.HasIndex(0));
  EXPECT_TRUE(filter.HasIndex(~uint32_t{0}));
  EXPECT_FALSE(filter.HasIndex(7));
  EXPECT_TRUE(filter.HasName("#7"));
  EXPECT_FALSE(filter.HasName("#0"));
}

TEST(FunctionFilterTest, RefusesWhatMeansNothing) {
  FunctionFilter filter;
  for (const absl::string_view text :
       {"", "#", "#-1", "#+1", "# 1", "#x", "#4294967296", "a\\"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(filter.Add(text))) << text;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(filter.AddName("")));
  EXPECT_TRUE(filter.empty());
}

TEST(FunctionFilterTest, IsBounded) {
  FunctionFilter filter;
  const std::string pattern(FunctionFilter::kPatternBytesMax + 1, '*');
  EXPECT_TRUE(absl::IsResourceExhausted(filter.AddPattern(pattern)));
  EXPECT_TRUE(filter.AddPattern(pattern.substr(1)).ok());
  const std::string name(FunctionFilter::kNameBytesMax + 1, 'n');
  EXPECT_TRUE(absl::IsResourceExhausted(filter.AddName(name)));
  EXPECT_TRUE(filter.AddName(name.substr(1)).ok());
  for (size_t i = 2; i < FunctionFilter::kEntriesMax; ++i) {
    EXPECT_TRUE(filter.AddIndex(7).ok());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(filter.AddIndex(7)));
  EXPECT_TRUE(absl::IsResourceExhausted(filter.AddName("x")));
  EXPECT_TRUE(absl::IsResourceExhausted(filter.AddPattern("x")));
}

// The beginning is what the runtime keeps of a longer one.
TEST(FunctionFilterTest, LooksAtTheBeginningOfALongName) {
  const std::string name(FunctionFilter::kNameBytesMax, 'n');
  FunctionFilter filter;
  ASSERT_TRUE(filter.AddName(name).ok());
  EXPECT_TRUE(filter.HasName(name + "more"));
  EXPECT_FALSE(filter.HasName(name.substr(1)));
}

// All places of the pattern that the bytes so far can have led to: no choice,
// so nothing to go back to, and nothing in common with what is tested.
bool MatchesBySets(const std::string& pattern, const std::string& name) {
  std::vector<bool> places(pattern.size() + 1);
  places[0] = true;
  const auto pass_stars = [&] {
    for (size_t i = 0; i < pattern.size(); ++i) {
      const bool star = pattern[i] == '*' && (i == 0 || pattern[i - 1] != '\\');
      if (places[i] && star) places[i + 1] = true;
    }
  };
  pass_stars();
  for (const char byte : name) {
    std::vector<bool> next(pattern.size() + 1);
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (!places[i]) continue;
      if (pattern[i] == '*') {
        next[i] = true;
      } else if (pattern[i] == '\\') {
        if (pattern[i + 1] == byte) next[i + 2] = true;
      } else if (pattern[i] == '?' || pattern[i] == byte) {
        next[i + 1] = true;
      }
    }
    places = next;
    pass_stars();
  }
  return places[pattern.size()];
}

TEST(FunctionFilterTest, AgreesWithAnotherMatcher) {
  std::mt19937 random(20261125);
  const auto below = [&random](size_t n) { return random() % n; };
  const std::vector<std::string> pieces = {"*", "?", "a",   "b",
                                           "a", "*", "\\*", "\\?"};
  size_t matched = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string pattern;
    for (size_t n = below(8) + 1; n > 0; --n) {
      pattern += pieces[below(pieces.size())];
    }
    std::string name;
    for (size_t n = below(10); n > 0; --n) name += "aab*?"[below(5)];
    const bool expected = MatchesBySets(pattern, name);
    ASSERT_EQ(Pattern(pattern).HasName(name), expected)
        << pattern << " on " << name;
    matched += expected ? 1 : 0;
  }
  // Both answers are common, or the test says little.
  EXPECT_GT(matched, 20'000u);
  EXPECT_LT(matched, 180'000u);
}

// A matcher that tries every split needs longer than the sun shines.
TEST(FunctionFilterTest, IsQuickWithManyStars) {
  std::string pattern;
  for (size_t i = 0; i + 3 < FunctionFilter::kPatternBytesMax; i += 2) {
    pattern += "*a";
  }
  pattern += "*b";
  const FunctionFilter filter = Pattern(pattern);
  const std::string name(FunctionFilter::kNameBytesMax, 'a');
  for (int i = 0; i < 1'000; ++i) EXPECT_FALSE(filter.HasName(name));
  EXPECT_TRUE(filter.HasName(name.substr(1) + "b"));
}

}  // namespace
}  // namespace callgate
