#include "policy/mitre_report.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(MitreReportTest, KnowsTechniquesAndTactics) {
  EXPECT_TRUE(IsMitreTechnique("T1041"));
  EXPECT_TRUE(IsMitreTechnique("T1552.001"));
  for (const char* tag : {"", "T", "T104", "T10411", "t1041", "T1041.",
                          "T1041.1", "T1041.0011", "T10a1", "mitre.T1041"}) {
    EXPECT_FALSE(IsMitreTechnique(tag)) << tag;
  }
  EXPECT_EQ(MitreTacticOf("mitre.exfiltration"), "exfiltration");
  EXPECT_EQ(MitreTacticOf("mitre."), "");
  EXPECT_EQ(MitreTacticOf("pci.mitre.x"), "");
}

TEST(MitreReportTest, ListsRulesByTechniqueAndThoseWithoutOne) {
  const CompileResult compiled = CompilePolicyText(R"(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: web }
imports:
  - { import: net.send, action: allow, tags: [T9999] }
  - { id: leak, import: net.send, action: deny, when: 'call.depth > 3', tags: [T1041, T1552.001, mitre.exfiltration] }
rules:
  - { id: watch, when: 'call.depth > 4', action: alert, tags: [T1041, T1041] }
  - { id: own, when: 'call.depth > 5', action: log, tags: [team.web] }
rate_limits:
  - { id: rate, import: net.send, refill_per_second: 1, burst: 1, tags: [mitre.impact] }
  - { id: plain, import: net.send, refill_per_second: 1, burst: 1 }
)",
                                                   "web.yaml");
  ASSERT_TRUE(compiled.ok());
  const MitreReport report = ReportMitre({compiled.policy});
  EXPECT_THAT(report.techniques,
              ElementsAre(Pair("T1041", ElementsAre("web/leak", "web/watch")),
                          Pair("T1552.001", ElementsAre("web/leak"))));
  EXPECT_THAT(report.tactics,
              ElementsAre(Pair("exfiltration", ElementsAre("web/leak")),
                          Pair("impact", ElementsAre("web/rate"))));
  EXPECT_THAT(report.without, ElementsAre("web/own", "web/plain"));
}

}  // namespace
}  // namespace callgate::policy
