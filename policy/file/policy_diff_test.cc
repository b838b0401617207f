#include "policy/file/policy_diff.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/file/policy_file.h"

namespace callgate::policy {
namespace {

using testing::ElementsAreArray;
using testing::IsEmpty;

v1::PolicyFile Load(const std::string& body) {
  const LoadResult loaded = LoadPolicyYaml(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: { name: web }\n",
                   body),
      "web.yaml");
  EXPECT_TRUE(loaded.ok()) << loaded.problems[0].ToString();
  return loaded.ok() ? loaded.file->proto : v1::PolicyFile();
}

struct Row {
  std::string name;
  std::string before;
  std::string after;
  std::vector<std::string> want;
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class PolicyDiff : public testing::TestWithParam<Row> {};

TEST_P(PolicyDiff, SaysWhatChanged) {
  std::vector<std::string> lines;
  for (const Difference& difference :
       DiffPolicies(Load(GetParam().before), Load(GetParam().after))) {
    lines.push_back(DifferenceText(difference));
  }
  EXPECT_THAT(lines, ElementsAreArray(GetParam().want));
}

INSTANTIATE_TEST_SUITE_P(
    Rows, PolicyDiff,
    testing::ValuesIn<Row>({
        {"nothing",
         "budgets: { fuel_per_call: 5 }",
         "budgets:\n  fuel_per_call: 5  # the same",
         {}},
        {"a_budget",
         "budgets: { fuel_per_call: 5, wall_per_call: 2s }",
         "budgets: { fuel_per_call: 6, wall_per_call: 0.5s, call_depth: 7 }",
         {"~ budgets.fuel_per_call: 5 -> 6",
          "~ budgets.wall_per_call: 2s -> 500ms", "+ budgets.call_depth: 7"}},
        {"all_budgets_go",
         "budgets: { fuel_per_call: 5 }",
         "",
         {"- budgets.fuel_per_call: 5"}},
        {"an_empty_section", "", "applies_to: {}", {"+ applies_to: {}"}},
        {"rules_come_go_and_change",
         "rules:\n  - { id: a, when: 'true', action: deny }\n"
         "  - { id: b, when: 'true', action: log }",
         "rules:\n  - { id: c, when: 'store.calls > 5', action: trap }\n"
         "  - { id: a, when: 'true', action: trap, tags: [T1] }",
         {"~ rules[a].action: deny -> trap", "+ rules[a].tags: \"T1\"",
          "- rules[b]: { id: \"b\", when: \"true\", action: log }",
          "+ rules[c]: { id: \"c\", when: \"store.calls > 5\", action: trap "
          "}"}},
        {"order_is_nothing",
         "imports: [ { import: a.b, action: allow }, { import: c.d, action: "
         "deny } ]",
         "imports: [ { import: c.d, action: deny }, { import: a.b, action: "
         "allow } ]",
         {}},
        {"imports_by_action",
         "imports: [ { import: a.b, action: allow } ]",
         "imports: [ { import: a.b, action: allow, args: [ { name: x, index: "
         "0, type: u32 } ] }, { import: a.b, action: deny, when: 'args.x > "
         "5' } ]",
         {"+ imports[a.b allow].args[x]: { name: \"x\", index: 0, type: u32 }",
          "+ imports[a.b deny]: { import: \"a.b\", action: deny, when: "
          "\"args.x > 5\" }"}},
        {"several_of_one_kind",
         "imports: [ { import: a.b, action: deny, when: 'true' }, { import: "
         "a.b, action: deny, when: 'false' } ]",
         "imports: [ { import: a.b, action: deny, when: 'true' } ]",
         {"- imports[a.b deny (2)]: { import: \"a.b\", action: deny, when: "
          "\"false\" }"}},
        {"lists_of_words",
         "include: [x, y]",
         "include: [y, z]",
         {"- include: \"x\"", "+ include: \"z\""}},
        {"order_of_words",
         "include: [x, y]",
         "include: [y, x]",
         {"~ include: [\"x\", \"y\"] -> [\"y\", \"x\"]"}},
        {"labels",
         "applies_to: { module_labels: { a: x, b: y } }",
         "applies_to: { module_labels: { b: z, c: x } }",
         {"- applies_to.module_labels[a]: { key: \"a\", value: \"x\" }",
          "~ applies_to.module_labels[b].value: \"y\" -> \"z\"",
          "+ applies_to.module_labels[c]: { key: \"c\", value: \"x\" }"}},
        {"exceptions",
         "exceptions: [ { rule: r, name: n, fields: [tenant], comps: ['=='], "
         "values: [ { v: [a] } ], reason: x, expires: '2027-01-31' } ]",
         "exceptions: [ { rule: r, name: n, fields: [tenant], comps: ['=='], "
         "values: [ { v: [b] } ], reason: x, expires: '2027-02-28' } ]",
         {"- exceptions[r n].values[#0].v: \"a\"",
          "+ exceptions[r n].values[#0].v: \"b\"",
          "~ exceptions[r n].expires: \"2027-01-31\" -> \"2027-02-28\""}},
        {"hostile_text",
         "",
         "macros: [ { name: m, when: \"a\\nb\\u001b[2J\" } ]",
         {"+ macros[m]: { name: \"m\", when: \"a\\nb\\u{1b}[2J\" }"}},
        {"steps_by_place",
         "temporal: [ { id: t, sequence: { steps: [ { as: a, when: x }, { as: "
         "b, when: y } ], within: 30s }, action: trap } ]",
         "temporal: [ { id: t, sequence: { steps: [ { as: b, when: y }, { as: "
         "a, when: x } ], within: 1m }, action: trap } ]",
         {"~ temporal[t].sequence.steps[#0].as: \"a\" -> \"b\"",
          "~ temporal[t].sequence.steps[#0].when: \"x\" -> \"y\"",
          "~ temporal[t].sequence.steps[#1].as: \"b\" -> \"a\"",
          "~ temporal[t].sequence.steps[#1].when: \"y\" -> \"x\"",
          "~ temporal[t].sequence.within: 30s -> 1m"}},
        {"anomalies_and_their_tests",
         "anomaly: [ { id: a, frequency: { ewma_alpha: 0.05, z_score: 6 } } ]\n"
         "tests: [ { name: t, events: [ { import: a.b } ] } ]",
         "anomaly: [ { id: a, profile_key: tenant, frequency: { ewma_alpha: "
         "0.05, z_score: 6, action: throttle, throttle: { base_delay: 1s } } } "
         "]\n"
         "tests: [ { name: t, events: [ { import: a.b, score: { frame: 3 }, "
         "engine_error: true } ] } ]",
         {"+ anomaly[a].profile_key: \"tenant\"",
          "+ anomaly[a].frequency.action: throttle",
          "+ anomaly[a].frequency.throttle.base_delay: 1s",
          "+ tests[t].events[#0].score.frame: 3",
          "+ tests[t].events[#0].engine_error: true"}},
    }),
    [](const auto& param) { return param.param.name; });

// Any file differs from an empty one in all it has, and from itself in nothing.
TEST(PolicyDiffTest, IsEmptyForTheSame) {
  const v1::PolicyFile file = Load(
      "rules: [ { id: a, when: 'true', action: deny } ]\n"
      "lists: [ { name: l, kind: glob, items: [a, b] } ]\n"
      "tests: [ { name: t, events: [ { at: 1s, import: a.b } ] } ]\n");
  EXPECT_THAT(DiffPolicies(file, file), IsEmpty());
  EXPECT_EQ(DiffPolicies(v1::PolicyFile(), file).size(), 6u);
}

}  // namespace
}  // namespace callgate::policy
