#include "server/policies/version_name.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::policies {
namespace {

using storage::PolicyVersionRecord;
using testing::AllOf;
using testing::HasSubstr;

std::vector<PolicyVersionRecord> History() {
  std::vector<PolicyVersionRecord> versions;
  const std::string digests[] = {
      std::string(64, '1'), "abcdef0" + std::string(57, '0'),
      "abcdef0" + std::string(57, '1'), std::string(64, '1')};
  for (uint64_t number = 12; number >= 9; --number) {
    PolicyVersionRecord version;
    version.number = number;
    version.version = digests[12 - number];
    versions.push_back(version);
  }
  return versions;
}

struct Row {
  std::string text;
  std::string want;
};
class VersionName : public testing::TestWithParam<Row> {};

TEST_P(VersionName, IsANumberOrDigits) {
  const auto found = FindVersion(GetParam().text, "web", History());
  EXPECT_THAT(found.ok() ? absl::StrCat(*found) : found.status().ToString(),
              HasSubstr(GetParam().want));
}

INSTANTIATE_TEST_SUITE_P(Texts, VersionName,
                         testing::ValuesIn<Row>({
                             {"9", "9"},
                             {"012", "12"},
                             {"1111111", "12"},  // the newest of its digest
                             {"abcdef000", "11"},
                             {"ABCDEF01", "10"},
                             {"abcdef0", "several versions"},
                             {"abcdef", "at least 7 digits"},
                             {"", "names no version"},
                             {"-1", "names no version"},
                             {"1 ", "names no version"},
                             {"99", "its history has 12 (111111111111), 11"},
                             {"2222222",
                              "no version \"2222222\" of the policy \"web\""},
                             {"99999999999999999999", "no version"},
                             {std::string(65, '1'), "names no version"},
                         }));

TEST(VersionNameTest, SaysWhenThereIsNoHistory) {
  EXPECT_THAT(std::string(FindVersion("1", "web\n", {}).status().message()),
              AllOf(HasSubstr("no history"), HasSubstr("web\\x0a")));
}

TEST(VersionNameTest, StandsBehindTheNameOfAPolicy) {
  EXPECT_EQ(SplitVersion("web"),
            std::make_pair(std::string("web"), std::string()));
  EXPECT_EQ(SplitVersion("web@3"),
            std::make_pair(std::string("web"), std::string("3")));
  EXPECT_EQ(SplitVersion("web@"),
            std::make_pair(std::string("web"), std::string()));
}

}  // namespace
}  // namespace callgate::policies
