#include "server/cli/test_report.h"

#include "gtest/gtest.h"

namespace callgate::cli {
namespace {

TestedFile Sample() {
  TestedFile file;
  file.path = "web.yaml";
  file.policy = "web";
  file.report.tests.push_back({"good", {10, 5}, {}});
  file.report.tests.push_back(
      {"bad <\x1b>", {20, 5}, {{{25, 9}, "expected trap & got \"allow\""}}});
  policy::trial::RuleCoverage rule;
  rule.rule = "leak";
  rule.file = "web.yaml";
  rule.position = {3, 5};
  rule.matched = 2;
  rule.has_condition = true;
  rule.was_true = 2;
  rule.was_false = 1;
  file.report.coverage.push_back(rule);
  policy::trial::RuleCoverage never;
  never.rule = "import:net.send";
  never.file = "base.yaml";
  never.position = {7, 5};
  file.report.coverage.push_back(never);
  policy::trial::RuleCoverage engines;
  engines.rule = "default:no_allow";
  file.report.coverage.push_back(engines);
  return file;
}

TEST(TestReportTest, TextHasTestsThenRulesThenASum) {
  EXPECT_EQ(
      TestReportText(Sample()),
      "pass  good\n"
      "FAIL  bad <\\x1b>\n"
      "      web.yaml:25:9: expected trap & got \"allow\"\n"
      "RULE             LINE         MATCHED  TRUE  FALSE  EXCEPTED  FAILED\n"
      "leak             3            2        2     1      0         0\n"
      "import:net.send  base.yaml:7  0        -     -      -         -\n"
      "web.yaml: 2 tests, 1 failed; 1 of 2 rules matched, 1 of 1 "
      "conditions were true and false\n");
}

TEST(TestReportTest, AFileWithoutTestsSaysSo) {
  TestedFile file = Sample();
  file.report.tests.clear();
  EXPECT_EQ(TestReportText(file), "web.yaml: no tests\n");
}

TEST(TestReportTest, JUnitHasACaseForEachTestAndForAFileThatIsWrong) {
  TestedFile wrong;
  wrong.path = "wrong.yaml";
  wrong.problems.push_back({"wrong.yaml", 1, 2, "unknown field \"x\""});
  EXPECT_EQ(
      JUnitXml({Sample(), wrong}),
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<testsuites tests=\"3\" failures=\"1\" errors=\"1\">\n"
      "  <testsuite name=\"web\" tests=\"2\" failures=\"1\" errors=\"0\">\n"
      "    <testcase classname=\"web\" name=\"good\" file=\"web.yaml\" "
      "line=\"10\"/>\n"
      "    <testcase classname=\"web\" name=\"bad &lt;\\x1b&gt;\" "
      "file=\"web.yaml\" line=\"20\">\n"
      "      <failure message=\"expected trap &amp; got "
      "&quot;allow&quot;\">web.yaml:25:9: expected trap &amp; got "
      "&quot;allow&quot;&#10;</failure>\n"
      "    </testcase>\n"
      "  </testsuite>\n"
      "  <testsuite name=\"wrong.yaml\" tests=\"1\" failures=\"0\" "
      "errors=\"1\">\n"
      "    <testcase classname=\"wrong.yaml\" name=\"the file\">\n"
      "      <error message=\"wrong.yaml:1:2: unknown field "
      "\\&quot;x\\&quot;\">wrong.yaml:1:2: unknown field "
      "\\&quot;x\\&quot;&#10;</error>\n"
      "    </testcase>\n"
      "  </testsuite>\n"
      "</testsuites>\n");
}

}  // namespace
}  // namespace callgate::cli
