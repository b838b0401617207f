#include "server/policies/policy_bundle.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::policies {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A policy that includes others and has a rule of the given id.
std::string Text(const std::string& name,
                 const std::vector<std::string>& includes,
                 const std::string& rule_id) {
  return absl::StrCat(
      "api_version: callgate.policy/v1\nkind: Policy\nmetadata: { name: ", name,
      " }\ninclude: [", absl::StrJoin(includes, ", "),
      "]\nimports:\n  - { id: ", rule_id,
      ", import: env.log, action: allow }\n");
}

std::shared_ptr<const LoadedPolicy> Load(
    const std::string& name, const std::vector<std::string>& includes = {},
    const std::string& rule_id = "", Origin origin = Origin::kApplied) {
  auto loaded = std::make_shared<LoadedPolicy>();
  loaded->origin = origin;
  loaded->source =
      Text(name, includes, rule_id.empty() ? "rule-of-" + name : rule_id);
  if (origin == Origin::kDirectory) loaded->file_name = name + ".yaml";
  policy::LoadResult result =
      policy::LoadPolicy(loaded->source, name + ".yaml");
  EXPECT_TRUE(result.ok()) << result.problems.front().ToString();
  loaded->file = *std::move(result.file);
  return loaded;
}

std::vector<std::string> NamesOf(const PolicyMap& policies) {
  std::vector<std::string> names;
  for (const auto& [name, policy] : policies) {
    EXPECT_EQ(policy.policy->name(), name);
    EXPECT_EQ(policy.loaded->name(), name);
    names.push_back(name);
  }
  return names;
}

std::vector<std::string> SubjectsOf(const Bundle& bundle) {
  std::vector<std::string> subjects;
  for (const Refusal& refusal : bundle.refusals) {
    EXPECT_FALSE(refusal.problems.empty());
    subjects.push_back(
        absl::StrCat(refusal.subject, refusal.earlier_stays ? "*" : ""));
  }
  return subjects;
}

TEST(BuildBundleTest, CompilesPoliciesThatIncludeEachOther) {
  const Bundle bundle =
      BuildBundle({Load("a", {"b", "c"}), Load("b", {"c"}), Load("c")}, {});
  EXPECT_THAT(NamesOf(bundle.policies), ElementsAre("a", "b", "c"));
  EXPECT_THAT(SubjectsOf(bundle), IsEmpty());
}

TEST(BuildBundleTest, LeavesOutWhatIsWrongAndWhatCannotBeWithoutIt) {
  const Bundle bundle = BuildBundle(
      {Load("a", {"b"}), Load("b", {"c"}), Load("c", {"no-such"}), Load("d")},
      {});
  EXPECT_THAT(NamesOf(bundle.policies), ElementsAre("d"));
  EXPECT_THAT(SubjectsOf(bundle), testing::UnorderedElementsAre("a", "b", "c"));
}

TEST(BuildBundleTest, LeavesOutCircles) {
  const Bundle bundle = BuildBundle(
      {Load("a", {"b"}), Load("b", {"a"}), Load("c", {"c"}), Load("d")}, {});
  EXPECT_THAT(NamesOf(bundle.policies), ElementsAre("d"));
}

TEST(BuildBundleTest, SparesThoseThatIncludeACircleThatFallsBack) {
  const Bundle before =
      BuildBundle({Load("a"), Load("b"), Load("c", {"a"})}, {});
  const Bundle after =
      BuildBundle({Load("a", {"b"}), Load("b", {"a"}), Load("c", {"a"}, "new")},
                  before.policies);
  EXPECT_THAT(NamesOf(after.policies), ElementsAre("a", "b", "c"));
  EXPECT_THAT(SubjectsOf(after), ElementsAre("a*", "b*"));
  EXPECT_NE(after.policies.at("c").policy->version(),
            before.policies.at("c").policy->version());
}

TEST(BuildBundleTest, FallsBackToWhatWasInForce) {
  const Bundle before = BuildBundle({Load("a", {"b"}), Load("b")}, {});
  const std::string version = before.policies.at("b").policy->version();
  // The new b includes what is not there; a goes on with the old b.
  const Bundle after =
      BuildBundle({Load("a", {"b"}), Load("b", {"no-such"})}, before.policies);
  EXPECT_THAT(NamesOf(after.policies), ElementsAre("a", "b"));
  EXPECT_THAT(SubjectsOf(after), ElementsAre("b*"));
  EXPECT_EQ(after.policies.at("b").policy->version(), version);
  EXPECT_EQ(after.policies.at("a").policy->version(),
            before.policies.at("a").policy->version());
}

TEST(BuildBundleTest, FallsBackOnlyToTheSameFile) {
  const Bundle before = BuildBundle({Load("a", {}, "", Origin::kApplied)}, {});
  const Bundle after = BuildBundle(
      {Load("a", {"no-such"}, "", Origin::kDirectory)}, before.policies);
  EXPECT_THAT(NamesOf(after.policies), IsEmpty());
  EXPECT_THAT(SubjectsOf(after), ElementsAre("a.yaml"));
}

TEST(BuildBundleTest, TakesAChangeOfAnIncludedPolicyToAllThatIncludeIt) {
  const Bundle before =
      BuildBundle({Load("a", {"b"}), Load("b", {"c"}), Load("c")}, {});
  const Bundle after = BuildBundle(
      {Load("a", {"b"}), Load("b", {"c"}), Load("c", {}, "another")},
      before.policies);
  EXPECT_NE(after.policies.at("a").policy->version(),
            before.policies.at("a").policy->version());
}

// What a is refused for comes from two levels below.
TEST(BuildBundleTest, TriesAgainThroughSeveralLevels) {
  const Bundle before =
      BuildBundle({Load("a", {"b"}), Load("b", {"c"}), Load("c")}, {});
  const Bundle after =
      BuildBundle({Load("a", {"b"}), Load("b", {"c"}), Load("c", {"no-such"})},
                  before.policies);
  EXPECT_THAT(NamesOf(after.policies), ElementsAre("a", "b", "c"))
      << absl::StrJoin(SubjectsOf(after), ",");
}

TEST(DependentsOfTest, FollowsAllLevels) {
  const Bundle bundle = BuildBundle({Load("a", {"b"}), Load("b", {"c"}),
                                     Load("c"), Load("d", {"c"}), Load("e")},
                                    {});
  EXPECT_THAT(DependentsOf("c", bundle.policies), ElementsAre("a", "b", "d"));
  EXPECT_THAT(DependentsOf("a", bundle.policies), IsEmpty());
  EXPECT_THAT(DependentsOf("unknown", bundle.policies), IsEmpty());
}

}  // namespace
}  // namespace callgate::policies
