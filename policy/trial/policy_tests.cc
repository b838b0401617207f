#include "policy/trial/policy_tests.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/quote.h"
#include "policy/trial/simulated_store.h"
#include "policy/trial/test_plan.h"

namespace callgate::policy::trial {
namespace {

// Of one call: its two ends are one event to people.
void Add(TrialDecision later, TrialDecision* decision) {
  if (std::tie(later.verdict, later.would_be) >
          std::tie(decision->verdict, decision->would_be) ||
      decision->rule.empty()) {
    later.would_be = std::max(later.would_be, decision->would_be);
    later.matches.insert(later.matches.end(), decision->matches.begin(),
                         decision->matches.end());
    later.answers.insert(later.answers.begin(), decision->answers.begin(),
                         decision->answers.end());
    later.read_unknown = later.read_unknown || decision->read_unknown;
    *decision = std::move(later);
    return;
  }
  decision->matches.insert(decision->matches.end(), later.matches.begin(),
                           later.matches.end());
  decision->answers.insert(decision->answers.end(), later.answers.begin(),
                           later.answers.end());
}

class Runner {
 public:
  Runner(const LoadedPolicyFile& file, std::shared_ptr<const Policy> policy,
         const TestPlan& plan)
      : file_(file), policy_(std::move(policy)), plan_(plan) {}

  TestOutcome Run(const PlannedTest& test) {
    outcome_ = {};
    outcome_.name = test.name;
    outcome_.position = test.position;
    clock_ = {};
    stores_.clear();
    states_ = std::make_unique<RuleStates>(TrialStates());
    stores_.resize(test.stores.size());
    for (size_t e = 0; e < test.events.size(); ++e) RunEvent(test, e);
    for (size_t s = 0; s < stores_.size(); ++s) {
      if (stores_[s].store == nullptr) continue;
      if (!stores_[s].store->fault().empty()) {
        Fail(test.position, absl::StrCat("the policy engine failed: ",
                                         stores_[s].store->fault()));
      }
    }
    return std::move(outcome_);
  }

  // By rule.
  absl::flat_hash_map<std::string, RuleCoverage>& covered() { return covered_; }

 private:
  struct TestStoreState {
    std::unique_ptr<SimulatedStore> store;
    absl::flat_hash_map<size_t, uint32_t> bindings;  // by function
    uint64_t calls = 0;
    // By the event that enters it.
    absl::flat_hash_map<const PlannedEvent*, uint32_t> probes;
  };

  void Fail(SourcePosition position, std::string message) {
    constexpr size_t kFailuresMax = 20;
    if (outcome_.failures.size() >= kFailuresMax) return;
    outcome_.failures.push_back({position, std::move(message)});
  }

  TestStoreState& StoreOf(const PlannedTest& test, size_t index) {
    TestStoreState& state = stores_[index];
    if (state.store == nullptr) {
      state.store = std::make_unique<SimulatedStore>(
          std::vector<std::shared_ptr<const Policy>>{policy_},
          test.stores[index], clock_, *states_);
      // All at once, since rules are told anew which functions there are.
      for (const PlannedEvent& event : test.events) {
        if (!event.entered.has_value() || event.store != index) continue;
        const PlannedEvent::Entry& entry = *event.entered;
        state.probes.emplace(
            &event, state.store->LinkProbe("module", {entry.name},
                                           entry.func_index, entry.type));
      }
      state.store->BeginCall();
    }
    return state;
  }

  void RunEvent(const PlannedTest& test, size_t index) {
    const PlannedEvent& event = test.events[index];
    SetClock(test, event.at);
    TestStoreState& state = StoreOf(test, event.store);
    if (event.new_call) {
      state.store->EndCall(nullptr);
      state.store->BeginCall();
    }
    SimulatedStore::HostCall call = event.call;
    if (event.function != PlannedEvent::kNone) {
      call.binding = BindingOf(event.function, &state);
    }
    for (uint32_t time = 1; time <= event.repeat; ++time) {
      SetClock(test, event.at + event.every * (time - 1));
      if (event.function != PlannedEvent::kNone) ++state.calls;
      if (event.counts_calls && call.score) {
        call.score->calls = std::max(call.score->total, state.calls);
      }
      const TrialDecision decision = event.function == PlannedEvent::kNone
                                         ? Inside(event, state)
                                         : Call(event, call, *state.store);
      Count(decision);
      for (const PlannedExpectation& expect : test.expect) {
        if (expect.event == index && expect.time == time) {
          Check(event, index, time, expect, decision);
        }
      }
      if (decision.read_unknown) {
        Fail(test.position,
             absl::StrCat("event ", index,
                          " has fewer bytes of an argument than a rule reads"));
      }
    }
  }

  void Count(const TrialDecision& decision) {
    for (const TrialDecision::Match& match : decision.matches) {
      ++covered_[match.rule].matched;
    }
    for (const ConditionAnswer& answer : decision.answers) {
      RuleCoverage& rule = covered_[std::string(answer.rule)];
      switch (answer.kind) {
        case ConditionAnswer::Kind::kFalse:
          ++rule.was_false;
          break;
        case ConditionAnswer::Kind::kTrue:
          ++rule.was_true;
          break;
        case ConditionAnswer::Kind::kExcepted:
          ++rule.was_true;
          ++rule.excepted;
          break;
        case ConditionAnswer::Kind::kFailed:
          ++rule.failed;
          break;
      }
    }
  }

  void SetClock(const PlannedTest& test, absl::Duration since_start) {
    clock_.monotonic = absl::UnixEpoch() + absl::Hours(24) + since_start;
    clock_.wall = test.start + since_start;
  }

  uint32_t BindingOf(size_t function, TestStoreState* state) {
    const auto known = state->bindings.find(function);
    if (known != state->bindings.end()) return known->second;
    const TestFunction& f = plan_.functions[function];
    const uint32_t binding =
        state->store->Link(f.module, f.name, f.type, f.spec);
    state->bindings.emplace(function, binding);
    return binding;
  }

  static TrialDecision Call(const PlannedEvent& event,
                            const SimulatedStore::HostCall& call,
                            SimulatedStore& store) {
    TrialDecision decision = store.EnterHost(call);
    if (!store.entered()) return decision;
    static const Trap* const host_error = new Trap(Trap::FromError(
        TrapCode::kHostError, MakeError("the test says so"), {}));
    Add(store.LeaveHost(
            call, event.ending, event.results,
            event.ending == Ending::kHostError ? host_error : nullptr),
        &decision);
    return decision;
  }

  // What happens inside the guest.
  static TrialDecision Inside(const PlannedEvent& event,
                              TestStoreState& state) {
    SimulatedStore& store = *state.store;
    if (event.entered.has_value()) {
      const PlannedEvent::Entry& entry = *event.entered;
      SimulatedStore::FunctionCall call;
      call.probe = state.probes.at(&event);
      call.args = entry.args;
      call.depth = entry.depth;
      call.caller_index = event.call.caller_index;
      call.caller_name = event.call.caller_name;
      if (event.call.gauges) call.gauges = *event.call.gauges;
      return store.EnterFunction(call);
    }
    // What the Store's limiter says, which holds the policies' budgets.
    GrowthEvent growth = event.growth;
    const bool is_memory = growth.kind == GrowthEvent::Kind::kMemory;
    const std::optional<uint64_t> max = store.hook().budgets().Max(
        is_memory ? Budget::kMemoryBytesTotal : Budget::kTableElementsTotal);
    // As if there were no other table in the Store.
    if (!is_memory) growth.store_table_elements = growth.current;
    const uint64_t after =
        is_memory ? growth.StoreBytesAfter() : growth.StoreTableElementsAfter();
    growth.allowed = !max || after <= *max;
    return store.Grow(growth);
  }

  void Check(const PlannedEvent& event, size_t index, uint32_t time,
             const PlannedExpectation& expect, const TrialDecision& got) {
    const std::string subject = absl::StrCat(
        "event ", index, " (", EscapeText(event.subject),
        event.repeat > 1 ? absl::StrCat(", time ", time) : "", " at ",
        absl::FormatDuration(event.at + event.every * (time - 1)), "): ");
    const auto fail = [&](absl::string_view what) {
      std::vector<std::string> matches;
      for (const TrialDecision::Match& match : got.matches) {
        matches.push_back(absl::StrCat(
            match.rule, match.mode == Mode::kAudit ? " (audit)" : ""));
      }
      Fail(expect.position,
           absl::StrCat(subject, what, "; it was ", got.ToString(),
                        ", and the rules that matched are [",
                        absl::StrJoin(matches, ", "), "]",
                        got.message.empty() ? "" : ": ", got.message));
    };
    if (expect.verdict && *expect.verdict != got.verdict) {
      fail(absl::StrCat("expected ", VerdictName(*expect.verdict)));
      return;
    }
    if (expect.would_be && *expect.would_be != got.would_be) {
      fail(absl::StrCat("expected ", VerdictName(*expect.would_be),
                        " if audit were enforced"));
    }
    if (expect.guest_errno && *expect.guest_errno != got.guest_errno) {
      fail(absl::StrCat("expected errno ", *expect.guest_errno));
    }
    if (expect.delay && *expect.delay != got.delay) {
      fail(absl::StrCat("expected a delay of ",
                        absl::FormatDuration(*expect.delay)));
    }
    if (expect.no_rules && !got.matches.empty()) {
      fail("expected that no rule matches");
    }
    for (const std::string& rule : expect.rules) {
      if (!got.HasRule(rule) && !(got.after_end && got.rule == rule)) {
        fail(absl::StrCat("expected rule ", rule, " to match"));
      }
    }
    for (const std::string& rule : expect.not_rules) {
      if (got.HasRule(rule)) {
        fail(absl::StrCat("expected rule ", rule, " not to match"));
      }
    }
    if (!absl::StrContains(got.message, expect.message)) {
      fail(absl::StrCat("expected a message with ", Quote(expect.message)));
    }
  }

  const LoadedPolicyFile& file_;
  const std::shared_ptr<const Policy> policy_;
  const TestPlan& plan_;
  TrialClock clock_;
  std::unique_ptr<RuleStates> states_;  // outlives stores_
  std::vector<TestStoreState> stores_;
  TestOutcome outcome_;
  absl::flat_hash_map<std::string, RuleCoverage> covered_;
};

}  // namespace

bool PolicyTestReport::passed() const {
  return problems.empty() &&
         std::all_of(tests.begin(), tests.end(),
                     [](const TestOutcome& test) { return test.passed(); });
}

std::vector<Problem> PolicyTestReport::Failures(
    absl::string_view filename) const {
  std::vector<Problem> failures;
  for (const TestOutcome& test : tests) {
    for (const TestFailure& failure : test.failures) {
      failures.push_back(
          {std::string(filename), failure.position.line,
           failure.position.column,
           absl::StrCat("test ", Quote(test.name), ": ", failure.message)});
    }
  }
  return failures;
}

PolicyTestReport RunPolicyTests(const LoadedPolicyFile& file,
                                std::shared_ptr<const Policy> policy,
                                const FunctionCatalogue& functions) {
  PolicyTestReport report;
  const TestPlan plan = ReadTests(file, *policy, functions, &report.problems);
  if (!report.problems.empty()) return report;
  Runner runner(file, policy, plan);
  for (const PlannedTest& test : plan.tests) {
    report.tests.push_back(runner.Run(test));
  }
  for (const Rule* rule : policy->AllRules()) {
    RuleCoverage coverage = runner.covered()[rule->id];
    // What allows always has nothing to be covered, unless it spoke about an
    // argument.
    if (rule->verdict == Verdict::kAllow && rule->when.empty() &&
        coverage.matched == 0) {
      continue;
    }
    coverage.rule = rule->id;
    coverage.file = rule->file;
    coverage.position = rule->position;
    // Rules about the past have several.
    coverage.has_condition =
        !rule->when.empty() ||
        coverage.was_true + coverage.was_false + coverage.failed > 0;
    report.coverage.push_back(std::move(coverage));
  }
  return report;
}

}  // namespace callgate::policy::trial
