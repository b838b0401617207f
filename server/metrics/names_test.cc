#include "server/metrics/names.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/budgets.h"
#include "policy/verdict.h"
#include "re2/re2.h"

namespace callgate::metrics {
namespace {

std::set<std::string> ValuesOf(const Family& family, const std::string& label) {
  for (const Label& candidate : family.labels) {
    if (candidate.name == label) {
      return {candidate.values.begin(), candidate.values.end()};
    }
  }
  ADD_FAILURE() << family.name << " has no label " << label;
  return {};
}

TEST(NamesTest, FollowPrometheusConventions) {
  std::set<std::string> names;
  for (const Family* family : FamiliesInOrder()) {
    const std::string name = family->name;
    EXPECT_TRUE(names.insert(name).second) << name << " is there twice";
    EXPECT_TRUE(RE2::FullMatch(name, "(callgate|process)_[a-z_]+")) << name;
    EXPECT_EQ(absl::EndsWith(name, "_total"), family->kind == Kind::kCounter)
        << name;
    EXPECT_EQ(family->buckets.empty(), family->kind != Kind::kHistogram)
        << name;
    if (family->kind == Kind::kHistogram) {
      EXPECT_TRUE(absl::EndsWith(name, "_seconds")) << name;
      EXPECT_TRUE(
          std::is_sorted(family->buckets.begin(), family->buckets.end()))
          << name;
    }
    EXPECT_TRUE(absl::EndsWith(family->help, ".")) << name;
    for (const Label& label : family->labels) {
      EXPECT_TRUE(RE2::FullMatch(label.name, "[a-z]+")) << name;
    }
  }
  // All members of Families are in the list.
  EXPECT_EQ(names.size() * sizeof(Family), sizeof(Families));
}

TEST(NamesTest, BeginOnlyWithValuesThatThereAre) {
  for (const Family* family : FamiliesInOrder()) {
    for (const std::vector<const char*>& series : family->initial) {
      ASSERT_EQ(series.size(), family->labels.size()) << family->name;
      for (size_t i = 0; i < series.size(); ++i) {
        EXPECT_EQ(ValuesOf(*family, family->labels[i].name).count(series[i]),
                  1u)
            << family->name << " " << series[i];
      }
    }
  }
}

// No label is about a thing that guests name or make.
TEST(NamesTest, HaveNoLabelForWhatGuestsChoose) {
  const std::set<std::string> open_labels = {
      "tenant", "policy",  "rule",     "import",   "service",  "method",
      "family", "version", "revision", "compiler", "sanitizer"};
  for (const Family* family : FamiliesInOrder()) {
    for (const Label& label : family->labels) {
      if (!label.values.empty()) continue;
      EXPECT_EQ(open_labels.count(label.name), 1u)
          << family->name << " " << label.name;
    }
  }
}

TEST(NamesTest, UseThePolicyEnginesWords) {
  std::set<std::string> verdicts;
  for (int v = 1; v <= static_cast<int>(policy::Verdict::kQuarantineModule);
       ++v) {
    verdicts.emplace(policy::VerdictName(static_cast<policy::Verdict>(v)));
  }
  std::set<std::string> severities;
  for (int s = 1; s <= static_cast<int>(policy::Severity::kCritical); ++s) {
    severities.emplace(policy::SeverityName(static_cast<policy::Severity>(s)));
  }
  std::set<std::string> budgets;
  for (size_t b = 0; b < policy::kBudgetCount; ++b) {
    budgets.emplace(policy::BudgetName(static_cast<policy::Budget>(b)));
  }
  const std::set<std::string> modes = {
      std::string(policy::ModeName(policy::Mode::kAudit)),
      std::string(policy::ModeName(policy::Mode::kEnforce))};
  const Families& families = AllFamilies();
  EXPECT_EQ(ValuesOf(families.decisions_total, "verdict"), verdicts);
  EXPECT_EQ(ValuesOf(families.decisions_total, "mode"), modes);
  EXPECT_EQ(ValuesOf(families.rule_matches_total, "severity"), severities);
  EXPECT_EQ(ValuesOf(families.budget_exceeded_total, "budget"), budgets);
}

}  // namespace
}  // namespace callgate::metrics
