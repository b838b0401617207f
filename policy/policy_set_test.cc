#include "policy/policy_set.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const Policy> Make(const std::string& name,
                                   absl::string_view applies_to,
                                   absl::string_view more = "") {
  CompileResult result = CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\nmetadata: "
                   "{name: ",
                   name, "}\n",
                   applies_to.empty()
                       ? ""
                       : absl::StrCat("applies_to: ", applies_to, "\n"),
                   more),
      name + ".yaml");
  EXPECT_TRUE(result.ok());
  return result.policy;
}

std::vector<std::string> Names(
    const std::vector<std::shared_ptr<const Policy>>& policies) {
  std::vector<std::string> names;
  for (const auto& p : policies) names.push_back(p->name());
  return names;
}

struct Row {
  std::string name;
  std::string tenant;
  PolicySet::Labels labels;
  std::optional<std::string> requested;
  // Empty: refused.
  std::vector<std::string> want;
};

class SelectTest : public testing::TestWithParam<Row> {
 protected:
  const std::shared_ptr<const PolicySet> set_ =
      *PolicySet::Make({Make("everybody-labelled", "{module_labels: {all: y}}"),
                        Make("acme", "{tenants: [acme]}"),
                        Make("acme-connector",
                             "{tenants: [acme, globex], module_labels: {class: "
                             "connector, stage: prod}}"),
                        Make("offer-b", ""), Make("offer-a", "")});
};

TEST_P(SelectTest, ChoosesWhatApplies) {
  const Row& row = GetParam();
  std::optional<absl::string_view> requested;
  if (row.requested) requested = *row.requested;
  const auto selected = set_->Select(row.tenant, row.labels, requested);
  if (row.want.empty()) {
    EXPECT_EQ(selected.status().code(), absl::StatusCode::kNotFound);
    return;
  }
  ASSERT_TRUE(selected.ok()) << selected.status();
  EXPECT_EQ(Names(*selected), row.want);
}

INSTANTIATE_TEST_SUITE_P(
    Stores, SelectTest,
    testing::ValuesIn<Row>({
        {"by_tenant", "acme", {}, std::nullopt, {"acme"}},
        {"tenant_is_no_prefix",
         "acm",
         {},
         std::nullopt,
         {"offer-a", "offer-b"}},
        {"by_label",
         "initech",
         {{"all", "y"}},
         std::nullopt,
         {"everybody-labelled"}},
        {"label_with_another_value",
         "initech",
         {{"all", "n"}},
         std::nullopt,
         {"offer-a", "offer-b"}},
        {"every_label_is_needed",
         "globex",
         {{"class", "connector"}},
         "offer-a",
         {"offer-a"}},
        {"all_that_match",
         "acme",
         {{"class", "connector"}, {"stage", "prod"}, {"all", "y"}},
         std::nullopt,
         {"acme", "acme-connector", "everybody-labelled"}},
        {"a_request_adds", "acme", {}, "offer-a", {"acme", "offer-a"}},
        {"a_request_for_what_applies", "acme", {}, "acme", {"acme"}},
        {"a_request_without_its_labels",
         "acme",
         {},
         "acme-connector",
         {"acme", "acme-connector"}},
        {"a_request_chooses_an_offer", "initech", {}, "offer-b", {"offer-b"}},
        {"no_request_takes_every_offer",
         "initech",
         {},
         std::nullopt,
         {"offer-a", "offer-b"}},
        // It can only tighten, and there is nothing to be tightened.
        {"a_request_alone_gives_nothing", "globex", {}, "acme-connector", {}},
        {"of_another_tenant", "initech", {}, "acme", {}},
        {"unknown", "acme", {}, "no-such", {}},
    }),
    [](const auto& test) { return test.param.name; });

TEST(PolicySetTest, NamesTenantAndFixWhenNothingApplies) {
  const auto set = *PolicySet::Make({Make("acme", "{tenants: [acme]}")});
  EXPECT_EQ(
      set->Select("globex", {{"class", "connector"}}).status().message(),
      "no policy applies to tenant \"globex\" and a module labelled "
      "\"class\"=\"connector\", and without a policy nothing runs; apply one "
      "with `applies_to: { tenants: [\"globex\"] }`");
  EXPECT_EQ((*PolicySet::Make({}))->Select("a\n", {}).status().message(),
            "no policy applies to tenant \"a\\n\" and a module without labels, "
            "and without a policy nothing runs; apply one with `applies_to: { "
            "tenants: [\"a\\n\"] }`");
}

TEST(PolicySetTest, TellsNobodyOfOthersPolicies) {
  const auto set = *PolicySet::Make({Make("acme", "{tenants: [acme]}")});
  const auto answer = [&](absl::string_view name) {
    return std::string(set->Select("globex", {}, name).status().message());
  };
  EXPECT_EQ(answer("acme"),
            "no policy \"acme\" for tenant \"globex\"; apply "
            "one of that name whose applies_to includes the "
            "tenant");
  EXPECT_EQ(answer("none"),
            "no policy \"none\" for tenant \"globex\"; apply "
            "one of that name whose applies_to includes the "
            "tenant");
}

TEST(PolicySetTest, EmptyAppliesToIsEverybody) {
  const auto set = *PolicySet::Make({Make("all", "{}"), Make("offer", ""),
                                     Make("star", "{tenants: [\"*\"]}")});
  EXPECT_THAT(Names(*set->Select("anyone", {})), ElementsAre("all", "star"));
}

TEST(PolicySetTest, RefusesTwoOfOneName) {
  const auto set =
      PolicySet::Make({Make("a", ""), Make("b", ""), Make("a", "")});
  EXPECT_EQ(set.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(set.status().message()),
              HasSubstr("two policies are called \"a\""));
}

TEST(PolicySetTest, ChangesMakeNewSets) {
  const auto first = *PolicySet::Make({Make("b", ""), Make("d", "")});
  const auto more = first->With(Make("c", ""))->With(Make("a", ""));
  const auto replaced = more->With(Make("c", "{}"));
  const auto fewer = replaced->Without("b")->Without("no-such");
  const auto names = [](const PolicySet& set) {
    return Names({set.policies().begin(), set.policies().end()});
  };
  EXPECT_THAT(names(*first), ElementsAre("b", "d"));
  EXPECT_THAT(names(*more), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(names(*replaced), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(names(*fewer), ElementsAre("a", "c", "d"));
  EXPECT_NE(more->Find("c"), replaced->Find("c"));
  EXPECT_EQ(more->Find("a"), fewer->Find("a"));
  EXPECT_EQ(fewer->Find("b"), nullptr);
}

// --- Budgets of several policies ---------------------------------------------

TEST(EffectiveBudgetsTest, TakesTheSmallestOfWhatIsEnforced) {
  const std::vector<std::shared_ptr<const Policy>> policies = {
      Make("a", "",
           "budgets: {fuel_per_call: 10, wall_per_call: 2s, call_depth: 7, "
           "module: {bytes: 100}}\n"),
      Make("b", "",
           "budgets: {fuel_per_call: 20, wall_per_call: 500ms, call_depth: 7, "
           "on_exceed: kill_store, module: {bytes: 200, imports: 3}}\n"),
      Make("c", "",
           "defaults: {mode: audit}\n"
           "budgets: {fuel_per_call: 1, host_calls_per_call: 1, module: "
           "{bytes: 1}}\n"),
  };
  const EffectiveBudgets budgets = ComputeEffectiveBudgets(policies);
  EXPECT_EQ(budgets.Max(Budget::kFuelPerCall), 10u);
  EXPECT_EQ(budgets[Budget::kFuelPerCall]->policy->name(), "a");
  EXPECT_EQ(budgets[Budget::kFuelPerCall]->on_exceed, Verdict::kTrap);
  EXPECT_EQ(budgets.wall_per_call(), absl::Milliseconds(500));
  // Of equals, what does more.
  EXPECT_EQ(budgets[Budget::kCallDepth]->policy->name(), "b");
  EXPECT_EQ(budgets[Budget::kCallDepth]->on_exceed, Verdict::kKillStore);
  EXPECT_FALSE(budgets.Max(Budget::kHostCallsPerCall).has_value());
  ASSERT_EQ(budgets.module.size(), 2u);
  EXPECT_EQ(budgets.module[0].name, "bytes");
  EXPECT_EQ(budgets.module[0].max, 100u);
  EXPECT_EQ(budgets.module[0].policy->name(), "a");
  EXPECT_EQ(budgets.module[1].name, "imports");
  EXPECT_EQ(budgets.module[1].max, 3u);
}

TEST(EffectiveBudgetsTest, AuditEnforcesNothing) {
  const auto policy = Make("a", "", "budgets: {fuel_per_call: 10}\n");
  const EffectiveBudgets budgets =
      ComputeEffectiveBudgets({policy}, Mode::kAudit);
  EXPECT_FALSE(budgets.Max(Budget::kFuelPerCall).has_value());
  EXPECT_FALSE(budgets.wall_per_call().has_value());
}

// The same policy, but nothing of it is enforced.
TEST(PolicySetTest, NothingIsEnforcedAgainstTenantsUnderAudit) {
  const auto policy =
      Make("web", "{tenants: [acme, globex]}",
           "budgets: {fuel_per_call: 7}\nrate_limits: [{id: r, import: a.b, "
           "refill_per_second: 1, burst: 1, action: deny}]\n");
  const auto set = *PolicySet::Make({policy}, {"acme"});
  EXPECT_EQ(set->CapOf("acme"), Mode::kAudit);
  EXPECT_EQ(set->CapOf("globex"), Mode::kEnforce);
  EXPECT_EQ((*set->Select("globex", {}))[0], policy);
  for (const auto& each : {set, set->With(Make("other", "{tenants: [else]}")),
                           set->Without("other")}) {
    const auto selected = *each->Select("acme", {});
    ASSERT_EQ(selected.size(), 1u);
    const Policy& audit = *selected[0];
    EXPECT_EQ(audit.mode(), Mode::kAudit);
    EXPECT_EQ(audit.name(), "web");
    EXPECT_EQ(audit.version(), policy->version());
    // What it remembers is carried over.
    EXPECT_EQ(audit.StateShapes()[0]->digest, policy->StateShapes()[0]->digest);
    EXPECT_FALSE(ComputeEffectiveBudgets(selected).Max(Budget::kFuelPerCall));
    // Made once.
    EXPECT_EQ(selected[0], policy->UnderAudit());
    EXPECT_EQ(CappedAt(selected[0], Mode::kEnforce), selected[0]);
  }
}

}  // namespace
}  // namespace callgate::policy
