// Runs the tests that a policy file brings: made-up events, shown to the hook
// that judges guests, and what it says held against what the file expects.
//
// Pure: no files, no clocks, no threads; what it costs is bounded
// (test_plan.h). Any thread.

#ifndef CALLGATE_POLICY_TRIAL_POLICY_TESTS_H_
#define CALLGATE_POLICY_TRIAL_POLICY_TESTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policy/file/policy_file.h"
#include "policy/file/problem.h"
#include "policy/policy.h"
#include "policy/trial/function_catalogue.h"

namespace callgate::policy::trial {

// What was expected and did not come.
struct TestFailure {
  SourcePosition position;
  // "event 1 (net.send at 5s): verdict is allow, expected trap".
  std::string message;
};

struct TestOutcome {
  std::string name;
  SourcePosition position;
  std::vector<TestFailure> failures;

  bool passed() const { return failures.empty(); }
};

// What the tests had a rule do.
struct RuleCoverage {
  std::string rule;
  std::string file;
  SourcePosition position;
  // Events that it matched.
  uint64_t matched = 0;
  // Whether it has a condition, and how often that was true, false, or could
  // not be evaluated; of those that were true, how many an exception let go.
  bool has_condition = false;
  uint64_t was_true = 0;
  uint64_t was_false = 0;
  uint64_t failed = 0;
  uint64_t excepted = 0;
};

struct PolicyTestReport {
  // What is wrong with the tests themselves; nothing has run then.
  std::vector<Problem> problems;
  std::vector<TestOutcome> tests;
  // In the order of the file: its own rules and those that it includes.
  std::vector<RuleCoverage> coverage;

  bool passed() const;
  // The failures as problems of the file, each after its test's name.
  std::vector<Problem> Failures(absl::string_view filename) const;
};

// `policy` is what `file` compiled to.
PolicyTestReport RunPolicyTests(const LoadedPolicyFile& file,
                                std::shared_ptr<const Policy> policy,
                                const FunctionCatalogue& functions);

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_POLICY_TESTS_H_
