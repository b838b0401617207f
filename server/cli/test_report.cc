#include "server/cli/test_report.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/quote.h"
#include "server/cli/text_table.h"
#include "server/events/escape.h"

namespace callgate::cli {
namespace {

using events::EscapeText;
using policy::trial::RuleCoverage;
using policy::trial::TestFailure;
using policy::trial::TestOutcome;

// The engine's own rules are worth a line only where they had something to do.
bool IsEngines(const RuleCoverage& rule) {
  return absl::StartsWith(rule.rule, "default:") ||
         absl::StartsWith(rule.rule, "budget:");
}

std::string Place(const TestedFile& file, const RuleCoverage& rule) {
  const std::string line = absl::StrCat(rule.position.line);
  if (IsEngines(rule)) return "-";
  if (rule.file == file.path) return line;
  return absl::StrCat(EscapeText(rule.file), ":", line);
}

std::string Xml(absl::string_view text) {
  std::string xml;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '<':
        xml += "&lt;";
        break;
      case '>':
        xml += "&gt;";
        break;
      case '&':
        xml += "&amp;";
        break;
      case '"':
        xml += "&quot;";
        break;
      case '\n':
        xml += "&#10;";
        break;
      default:
        // What XML cannot say at all was escaped before.
        if (byte >= 0x20) xml += c;
        break;
    }
  }
  return xml;
}

std::string LineOf(const TestedFile& file, const TestFailure& failure) {
  return absl::StrCat(EscapeText(file.path), ":", failure.position.line, ":",
                      failure.position.column, ": ",
                      EscapeText(failure.message));
}

}  // namespace

std::string TestReportText(const TestedFile& file) {
  std::string text;
  size_t failed = 0;
  for (const TestOutcome& test : file.report.tests) {
    absl::StrAppend(&text, test.passed() ? "pass  " : "FAIL  ",
                    EscapeText(test.name), "\n");
    for (const TestFailure& failure : test.failures) {
      absl::StrAppend(&text, "      ", LineOf(file, failure), "\n");
    }
    failed += test.passed() ? 0u : 1u;
  }
  std::vector<std::vector<std::string>> rows = {
      {"RULE", "LINE", "MATCHED", "TRUE", "FALSE", "EXCEPTED", "FAILED"}};
  size_t rules = 0;
  size_t matched = 0;
  size_t conditions = 0;
  size_t both = 0;
  for (const RuleCoverage& rule : file.report.coverage) {
    const bool did_something = rule.matched + rule.was_true > 0;
    if (IsEngines(rule) && !did_something) continue;
    if (!IsEngines(rule)) {
      ++rules;
      matched += did_something ? 1u : 0u;
      conditions += rule.has_condition ? 1u : 0u;
      both += rule.has_condition && rule.was_true > 0 && rule.was_false > 0
                  ? 1u
                  : 0u;
    }
    const auto of_condition = [&](uint64_t count) {
      return rule.has_condition ? absl::StrCat(count) : std::string("-");
    };
    rows.push_back({EscapeText(rule.rule), Place(file, rule),
                    absl::StrCat(rule.matched), of_condition(rule.was_true),
                    of_condition(rule.was_false), of_condition(rule.excepted),
                    of_condition(rule.failed)});
  }
  if (rows.size() > 1 && !file.report.tests.empty()) {
    absl::StrAppend(&text, TextTable(rows));
  }
  absl::StrAppend(&text, EscapeText(file.path), ": ");
  if (file.report.tests.empty()) {
    absl::StrAppend(&text, "no tests\n");
    return text;
  }
  absl::StrAppend(&text, file.report.tests.size(), " tests, ", failed,
                  " failed; ", matched, " of ", rules, " rules matched, ", both,
                  " of ", conditions, " conditions were true and false\n");
  return text;
}

std::string JUnitXml(const std::vector<TestedFile>& files) {
  std::string suites;
  size_t all_tests = 0;
  size_t all_failures = 0;
  size_t all_errors = 0;
  for (const TestedFile& file : files) {
    std::string cases;
    size_t tests = 0;
    size_t failures = 0;
    const std::string suite =
        Xml(EscapeText(file.policy.empty() ? file.path : file.policy));
    if (!file.problems.empty()) {
      ++tests;
      std::string lines;
      for (const policy::Problem& problem : file.problems) {
        absl::StrAppend(&lines, policy::EscapeText(problem.ToString()), "\n");
      }
      absl::StrAppend(&cases, "    <testcase classname=\"", suite,
                      "\" name=\"the file\">\n      <error message=\"",
                      Xml(policy::EscapeText(file.problems[0].ToString())),
                      "\">", Xml(lines), "</error>\n    </testcase>\n");
    }
    for (const TestOutcome& test : file.report.tests) {
      ++tests;
      absl::StrAppend(&cases, "    <testcase classname=\"", suite, "\" name=\"",
                      Xml(EscapeText(test.name)), "\" file=\"",
                      Xml(EscapeText(file.path)), "\" line=\"",
                      test.position.line, "\"");
      if (test.passed()) {
        absl::StrAppend(&cases, "/>\n");
        continue;
      }
      ++failures;
      std::string lines;
      for (const TestFailure& failure : test.failures) {
        absl::StrAppend(&lines, LineOf(file, failure), "\n");
      }
      absl::StrAppend(&cases, ">\n      <failure message=\"",
                      Xml(EscapeText(test.failures[0].message)), "\">",
                      Xml(lines), "</failure>\n    </testcase>\n");
    }
    const size_t errors = file.problems.empty() ? 0u : 1u;
    absl::StrAppend(&suites, "  <testsuite name=\"", suite, "\" tests=\"",
                    tests, "\" failures=\"", failures, "\" errors=\"", errors,
                    "\">\n", cases, "  </testsuite>\n");
    all_tests += tests;
    all_failures += failures;
    all_errors += errors;
  }
  return absl::StrCat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<testsuites tests=\"",
      all_tests, "\" failures=\"", all_failures, "\" errors=\"", all_errors,
      "\">\n", suites, "</testsuites>\n");
}

}  // namespace callgate::cli
