// The `tests` of a policy file, checked and made ready to run: imports found,
// arguments laid out, expectations told apart from typing errors.

#ifndef CALLGATE_POLICY_TRIAL_TEST_PLAN_H_
#define CALLGATE_POLICY_TRIAL_TEST_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "policy/file/policy_file.h"
#include "policy/file/problem.h"
#include "policy/policy.h"
#include "policy/trial/function_catalogue.h"
#include "policy/trial/simulated_store.h"
#include "runtime/call_hook.h"

namespace callgate::policy::trial {

// What the tests of one file may be at most, all of them together. A policy
// that a submitter brings has tests, too.
inline constexpr uint64_t kTestEventsMax = 100'000;   // repeated ones each
inline constexpr uint64_t kTestBytesMax = 256 << 20;  // of arguments, likewise
inline constexpr uint64_t kTestBytesHeldMax = 32 << 20;  // once each

// A function that tests call.
struct TestFunction {
  std::string module;
  std::string name;
  FuncType type;
  std::optional<HostFunctionSpec> spec;
  // What its arguments are, by the host and by the policy.
  std::vector<ArgSpec> args;
};

struct PlannedEvent {
  // As people say it: "net.send", "memory_grow".
  std::string subject;
  size_t store = 0;
  absl::Duration at;
  uint32_t repeat = 1;
  absl::Duration every;
  bool new_call = false;
  // Of a call; else kNone, and `growth` counts, or `entered` if it is set.
  static constexpr size_t kNone = ~size_t{0};
  size_t function = kNone;
  SimulatedStore::HostCall call;
  // score.calls of the call is how many the Store has made.
  bool counts_calls = false;
  Ending ending = Ending::kValue;
  std::vector<RawValue> results;
  GrowthEvent growth;
  // A function of the guest's own. Its caller and what the Store has are those
  // of `call`.
  struct Entry {
    std::string name;
    uint32_t func_index = 0;
    FuncType type;
    std::vector<RawValue> args;
    uint32_t depth = 1;
  };
  std::optional<Entry> entered;
};

struct PlannedExpectation {
  size_t event = 0;
  uint32_t time = 1;  // from 1
  std::optional<Verdict> verdict;
  std::optional<Verdict> would_be;
  std::vector<std::string> rules;
  std::vector<std::string> not_rules;
  bool no_rules = false;
  std::optional<uint32_t> guest_errno;
  std::optional<absl::Duration> delay;
  std::string message;
  SourcePosition position;
};

struct PlannedTest {
  std::string name;
  absl::Time start;
  std::vector<StoreFacts> stores;
  std::vector<PlannedEvent> events;
  std::vector<PlannedExpectation> expect;
  SourcePosition position;
};

struct TestPlan {
  std::vector<TestFunction> functions;
  std::vector<PlannedTest> tests;
};

// `policy` is what `file` compiled to. Whatever is wrong goes to `problems`,
// and the plan is then incomplete.
TestPlan ReadTests(const LoadedPolicyFile& file, const Policy& policy,
                   const FunctionCatalogue& functions,
                   std::vector<Problem>* problems);

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_TEST_PLAN_H_
