// What tests of policies came to, for people and for CI.

#ifndef CALLGATE_SERVER_CLI_TEST_REPORT_H_
#define CALLGATE_SERVER_CLI_TEST_REPORT_H_

#include <string>
#include <vector>

#include "policy/file/problem.h"
#include "policy/policy.h"
#include "policy/trial/policy_tests.h"

namespace callgate::cli {

// One policy file's tests.
struct TestedFile {
  std::string path;
  // Why it is no policy, or has no tests that can run; then nothing ran.
  std::vector<policy::Problem> problems;
  std::string policy;  // its name; empty if it is none
  policy::trial::PolicyTestReport report;
};

// A line for each test, with its failures under it, then what the tests had
// each rule do, and a summary.
std::string TestReportText(const TestedFile& file);

// JUnit's XML, as CI systems read it: a suite for each file. A file that could
// not be tested is a case that has an error.
std::string JUnitXml(const std::vector<TestedFile>& files);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_TEST_REPORT_H_
