#include "server/tested_policies.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"

namespace callgate {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

struct Made {
  policy::LoadedPolicyFile file;
  std::shared_ptr<const policy::Policy> policy;
};

Made Make(const std::string& name, const std::string& verdict,
          const std::string& file_name = "p.yaml") {
  policy::LoadResult loaded = policy::LoadPolicyYaml(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\nmetadata: { "
                   "name: ",
                   name,
                   " }\nimports: [ { id: no, import: net.send, action: deny } "
                   "]\ntests:\n  - name: t\n    events: [ { import: net.send } "
                   "]\n    expect: [ { event: 0, verdict: ",
                   verdict, " } ]\n"),
      file_name);
  EXPECT_TRUE(loaded.ok());
  Made made{*std::move(loaded.file), nullptr};
  made.policy = policy::CompilePolicy(made.file).policy;
  EXPECT_NE(made.policy, nullptr);
  return made;
}

TEST(TestedPoliciesTest, OneThatPassedIsNotTestedAgain) {
  TestedPolicies tested;
  const Made good = Make("good", "deny");
  EXPECT_THAT(tested.Test(good.file, good.policy), IsEmpty());
  EXPECT_THAT(tested.Test(good.file, good.policy), IsEmpty());
  const Made again = Make("good", "deny", "other.yaml");
  EXPECT_THAT(tested.Test(again.file, again.policy), IsEmpty());
  EXPECT_EQ(tested.runs(), 1u);
}

// What they say is of the version, too: other tests are another version.
TEST(TestedPoliciesTest, OneThatFailsSaysSoEachTimeWithItsPlace) {
  TestedPolicies tested;
  const Made good = Make("p", "deny");
  EXPECT_THAT(tested.Test(good.file, good.policy), IsEmpty());
  for (const char* name : {"a.yaml", "b.yaml"}) {
    const Made bad = Make("p", "allow", name);
    EXPECT_NE(bad.policy->version(), good.policy->version());
    const auto problems = tested.Test(bad.file, bad.policy);
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_THAT(problems[0].ToString(), HasSubstr(absl::StrCat(name, ":8:")));
    EXPECT_THAT(problems[0].message, HasSubstr("expected allow; it was deny"));
  }
  EXPECT_EQ(tested.runs(), 3u);
}

TEST(TestedPoliciesTest, TheOldestIsForgotten) {
  TestedPolicies tested(/*versions_max=*/2);
  const Made one = Make("one", "deny");
  const Made two = Make("two", "deny");
  const Made three = Make("three", "deny");
  for (const Made* made : {&one, &two, &three, &two, &three}) {
    EXPECT_THAT(tested.Test(made->file, made->policy), IsEmpty());
  }
  EXPECT_EQ(tested.runs(), 3u);
  EXPECT_THAT(tested.Test(one.file, one.policy), IsEmpty());
  EXPECT_EQ(tested.runs(), 4u);
}

TEST(TestedPoliciesTest, WithoutTestsItIsHeldAgainstTheFunctions) {
  TestedPolicies tested;
  Made made = Make("p", "deny");
  made.file.proto.clear_tests();
  EXPECT_THAT(tested.Test(made.file, made.policy), IsEmpty());
  EXPECT_EQ(tested.runs(), 1u);
}

}  // namespace
}  // namespace callgate
