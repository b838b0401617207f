// What globs, networks and patterns accept and refuse; random ones are compared
// with slow matchers in differential_test.cc.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "policy/expression/glob_list.h"
#include "policy/expression/ip_address.h"
#include "policy/expression/pattern_list.h"

namespace callgate::policy::expression {
namespace {

struct Match {
  std::string glob, text;
  bool matches;
};

TEST(Glob, Matches) {
  const std::vector<Match> rows = {
      {"/config/secrets/**", "/config/secrets/db", true},
      {"/config/secrets/**", "/config/secrets/a/b", true},
      {"/config/secrets/**", "/config/secrets", false},
      {"/config/secrets/**", "/config/secrets2/db", false},
      {"*.objects.example:443", "a.b.objects.example:443", true},
      {"*.objects.example:443", "objects.example:443", false},
      {"*.objects.example:443", "x/.objects.example:443", false},
      {"/a/*/c", "/a/b/c", true},
      {"/a/*/c", "/a/b/b/c", false},
      {"/a/**/c", "/a/c", true},
      {"/a/**/c", "/a/b/b/c", true},
      {"/a/**/c", "/a/bc", false},
      {"**/c", "c", true},
      {"**/c", "a/c", true},
      {"**/c", "ac", false},
      {"/a/**/**/c", "/a/c", true},
      {"a?c", "abc", true},
      {"a?c", "a/c", false},
      {"\\*\\[", "*[", true},
      {"\\*", "a", false},
      {"abc", "abc", true},
      {"abc", "abcd", false},
      {"abc", "ABC", false},
      {"**", "", true},
      {"*", "", true},
      {"*", "a/b", false},
  };
  for (const Match& row : rows) {
    const absl::StatusOr<Glob> glob = Glob::Create(row.glob);
    ASSERT_TRUE(glob.ok()) << row.glob;
    EXPECT_EQ(glob->Matches(row.text), row.matches)
        << row.glob << " on " << row.text;
  }
}

TEST(Glob, RefusesWhatOtherGlobsMean) {
  for (const char* const glob : {"", "a[bc]", "{a,b}", "a]", "***", "a\\"}) {
    EXPECT_FALSE(Glob::Create(glob).ok()) << glob;
  }
  EXPECT_TRUE(Glob::Create(std::string(Glob::kBytesMax, '?')).ok());
  EXPECT_FALSE(Glob::Create(std::string(Glob::kBytesMax + 1, '?')).ok());
  const auto list = GlobList::Create({"/a", "b["});
  ASSERT_FALSE(list.ok());
  EXPECT_EQ(list.status().message(),
            "\"b[\" has an unescaped '['; sets and alternatives are not "
            "supported, for the character itself write \\[");
  EXPECT_TRUE(
      GlobList::Create(std::vector<std::string>(GlobList::kItemsMax, "a"))
          .ok());
  EXPECT_FALSE(
      GlobList::Create(std::vector<std::string>(GlobList::kItemsMax + 1, "a"))
          .ok());
}

TEST(Glob, TheLongestPatternFillsItsWords) {
  const std::string stars = std::string(Glob::kBytesMax - 1, '?') + "*";
  const absl::StatusOr<Glob> glob = Glob::Create(stars);
  ASSERT_TRUE(glob.ok());
  EXPECT_TRUE(glob->Matches(std::string(Glob::kBytesMax - 1, 'a')));
  EXPECT_TRUE(glob->Matches(std::string(Glob::kBytesMax + 9, 'a')));
  EXPECT_FALSE(glob->Matches(std::string(Glob::kBytesMax - 2, 'a')));
}

TEST(Glob, PassesNoSegmentsByWhereverTheWordEnds) {
  for (size_t n = 1; n < 140; ++n) {
    const absl::StatusOr<Glob> glob =
        Glob::Create(std::string(n, '?') + "/**/b");
    ASSERT_TRUE(glob.ok());
    const std::string begin(n, 'a');
    EXPECT_TRUE(glob->Matches(begin + "/b")) << n;
    EXPECT_TRUE(glob->Matches(begin + "/x/y/b")) << n;
    EXPECT_FALSE(glob->Matches(begin + "/xb")) << n;
    EXPECT_FALSE(glob->Matches(begin + "b")) << n;
  }
}

bool Contains(const std::vector<std::string>& networks, const char* address) {
  const auto list = CidrList::Create(networks);
  EXPECT_TRUE(list.ok()) << list.status();
  const auto key = IpKeyFromText(address);
  EXPECT_TRUE(key.has_value()) << address;
  return list.ok() && key.has_value() && (*list)->Contains(*key);
}

TEST(CidrList, Contains) {
  const std::vector<std::string> nets = {"10.0.0.0/8", "192.168.1.1",
                                         "fc00::/7", "10.2.0.0/16"};
  EXPECT_TRUE(Contains(nets, "10.0.0.0"));
  EXPECT_TRUE(Contains(nets, "10.255.255.255"));
  EXPECT_FALSE(Contains(nets, "9.255.255.255"));
  EXPECT_FALSE(Contains(nets, "11.0.0.0"));
  EXPECT_TRUE(Contains(nets, "192.168.1.1"));
  EXPECT_FALSE(Contains(nets, "192.168.1.2"));
  EXPECT_TRUE(Contains(nets, "fdff::1"));
  EXPECT_FALSE(Contains(nets, "fe00::"));
  EXPECT_FALSE(Contains({}, "10.0.0.1"));
  EXPECT_TRUE(Contains({"0.0.0.0/0"}, "1.2.3.4"));
  EXPECT_FALSE(Contains({"0.0.0.0/0"}, "::1"));
}

TEST(CidrList, TheOtherFormOfAnAddressDoesNotGetPast) {
  EXPECT_TRUE(Contains({"169.254.0.0/16"}, "::ffff:169.254.169.254"));
  EXPECT_TRUE(Contains({"::ffff:169.254.0.0/112"}, "169.254.169.254"));
}

TEST(CidrList, Refuses) {
  for (const char* const item :
       {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8x", "10.0.0.1/8", "10/8",
        "::1/129", "a", "10.0.0.0/-1", "10.0.0.0/08888", "::ffff:1.2.3.4/90",
        "010.0.0.1", "1.2.3.4%eth0", "[::1]"}) {
    EXPECT_FALSE(CidrList::Create({item}).ok()) << item;
  }
}

TEST(PatternList, IsOfRe2AndBounded) {
  EXPECT_FALSE(PatternList::Create({"a("}).ok());
  EXPECT_FALSE(PatternList::Create({"(?=a)"}).ok());
  EXPECT_FALSE(PatternList::Create({"\\1"}).ok());
  // Small to write, large to compile.
  EXPECT_FALSE(PatternList::Create({"((a{30}){30}){30}"}).ok());
  EXPECT_TRUE(
      PatternList::Create({std::string(PatternList::kBytesMax, 'a')}).ok());
  EXPECT_FALSE(
      PatternList::Create({std::string(PatternList::kBytesMax + 1, 'a')}).ok());
}

TEST(PatternList, DotIsACharacterOfStringsAndAByteOfBytes) {
  const auto list = PatternList::Create({"^.$"});
  ASSERT_TRUE(list.ok());
  EXPECT_TRUE((*list)->FoundIn("\xc3\xa9", false));
  EXPECT_FALSE((*list)->FoundIn("\xc3\xa9", true));
  EXPECT_TRUE((*list)->FoundIn("\xff", true));
}

}  // namespace
}  // namespace callgate::policy::expression
