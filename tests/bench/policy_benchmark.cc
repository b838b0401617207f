// What the policy engine adds to a host call, by what its policy says.
//
//   BM_PolicyCall/ENGINE/no_hook         nothing is asked
//                       /bare_hook       a hook that lets every call go on
//                       /allow_1_rule    one entry, which allows the call
//                       /allow_50_rules  fifty entries, one of which is about
//                                        the call, and allows it
//                       /log_50_rules    that one records each call as well
//                       /rate_50_rules   a rate limit that is never reached
//                       /none_of_50      fifty conditions about other calls
//                       /two_predicates  one condition that reads two arguments
//                       /five_of_50      five such, and 45 about other calls
//                       /priced          each call is paid in fuel
//                       /ring            some rule could alert, and none
//                       applies:
//                                        the calls are noted
//                       /sequence_begins each call is the first of two steps
//                       /sequence_waits  each is the second, and none is first
//                       /count           calls in a window, too few of them
//
// The targets are ratios to bare_hook: none_of_50 1.2, two_predicates 12,
// five_of_50 30, the last three 8.
//
// A loop of 10,000 calls of a function with two arguments and a result; "items"
// are calls.

#include <benchmark/benchmark.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/policy_hook.h"
#include "runtime/check.h"
#include "tests/bench/engines.h"
#include "tests/bench/measured_store.h"

namespace callgate {
namespace {

constexpr uint32_t kCallsPerLoop = 10'000;

class DeafSink final : public policy::DecisionSink {
 public:
  void OnDecision(const policy::DecisionRecord& decision) override {
    benchmark::DoNotOptimize(&decision);
  }
  void OnEngineFault(const policy::StoreFacts&, absl::string_view) override {
    CALLGATE_CHECK(false, "the policy engine has no fault here");
  }
};

absl::Time Now() {
  return absl::UnixEpoch() +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

// What every hook pays.
class BareHook final : public CallHook {
 public:
  TransitionSet OnLink(const FunctionIdentity&) override {
    return TransitionSet::None().With(Transition::kCallingHost);
  }
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
};

struct PolicyRow {
  std::string name;
  int entries = 0;   // env.nop and env.add among them; 0: no hook
  std::string more;  // what else the file says
};

// `about` conditions on a call of env.add, both halves of which are looked at,
// and the rest of `rules` on others.
std::string Conditions(int rules, int about) {
  std::string text = "rules:\n";
  for (int i = 0; i < rules; ++i) {
    const std::string condition =
        i < about ? absl::StrCat(
                        "call.import == \"env.add\" && args.a >= 0 && args.b "
                        "== ",
                        20'000 + i)
                  : absl::StrCat("call.import == \"other.f", i,
                                 "\" && call.depth > ", i);
    absl::StrAppend(&text, "  - { id: r", i, ", action: deny, when: '",
                    condition, "' }\n");
  }
  return text;
}

// Two steps; the loop calls env.add and never env.nop.
std::string Sequence(absl::string_view first, absl::string_view second) {
  return absl::StrCat(
      "temporal:\n  - { id: t, action: deny, sequence: { steps: [{ as: a, "
      "when: "
      "'call.import == \"env.",
      first, "\"' }, { as: b, when: 'call.import == \"env.", second,
      "\"' }], within: 30s } }\n");
}

std::vector<PolicyRow> PolicyRows() {
  const std::string log =
      "  - { id: seen, import: env.add, action: log, severity: debug }\n";
  const std::string rate =
      "rate_limits:\n  - { id: rate, import: env.add, refill_per_second: "
      "1000000000, burst: 1000000000, action: deny, guest_errno: 6 }\n";
  const std::string price =
      "budgets: { host_call_price: [{ import: \"*\", base: 1 }] }\n";
  const std::string alert =
      "rules:\n  - { id: alert, when: 'call.import == \"other.f1\"', action: "
      "alert }\n";
  return {
      {"no_hook", 0, ""},
      {"bare_hook", 0, ""},
      {"allow_1_rule", 2, ""},
      {"allow_50_rules", 50, ""},
      {"log_50_rules", 49, log},
      {"rate_50_rules", 50, rate},
      {"none_of_50", 2, Conditions(50, 0)},
      {"two_predicates", 2, Conditions(1, 1)},
      {"five_of_50", 2, Conditions(50, 5)},
      {"priced", 2, price},
      {"ring", 2, alert},
      {"sequence_begins", 2, Sequence("add", "nop")},
      {"sequence_waits", 2, Sequence("nop", "add")},
      {"count", 2,
       "temporal:\n  - { id: t, action: deny, count: { when: 'call.import == "
       "\"env.add\"', within: 0.000001s, gte: 1000 } }\n"},
  };
}

std::shared_ptr<const policy::Policy> CompileRow(const PolicyRow& row) {
  std::string yaml =
      "api_version: callgate.policy/v1\nkind: Policy\nmetadata: { name: p }\n"
      "imports:\n  - { import: env.nop, action: allow }\n";
  for (int i = 2; i < row.entries; ++i) {
    absl::StrAppend(&yaml, "  - { import: other.f", i, ", action: allow }\n");
  }
  absl::StrAppend(
      &yaml,
      "  - { import: env.add, action: allow, args: [{ name: a, index: 0, type: "
      "u32 }, { name: b, index: 1, type: u32 }] }\n",
      row.more);
  policy::CompileResult compiled = policy::CompilePolicyText(yaml, "p.yaml");
  if (!compiled.ok()) {
    for (const policy::Problem& problem : compiled.problems) {
      CALLGATE_CHECK(false, problem.ToString().c_str());
    }
  }
  return std::move(compiled.policy);
}

// An engine and its guest, compiled once for all the rows about them.
struct Subject {
  explicit Subject(const EngineToMeasure& which)
      : engine(which.make()), module(CompileWat(*engine, kCallingGuest)) {}

  const std::unique_ptr<Engine> engine;
  const std::shared_ptr<const Module> module;
  const Linker linker = HostFunctions();
};

void PolicyCall(benchmark::State& state, const Subject& subject,
                const PolicyRow& row) {
  DeafSink sink;
  std::unique_ptr<CallHook> hook;
  HookOptions options;
  if (row.name == "bare_hook") {
    hook = std::make_unique<BareHook>();
  } else if (row.entries > 0) {
    auto judge = std::make_unique<policy::PolicyHook>(
        std::vector<std::shared_ptr<const policy::Policy>>{CompileRow(row)},
        policy::StoreFacts{"bench", "default", "", "guest"}, Now, sink);
    options.call_ring = judge->call_ring();
    hook = std::move(judge);
  }
  const MeasuredStore store(*subject.engine, subject.module, subject.linker,
                            hook.get(), options);
  const Func loop = store.Find("adds");
  for (auto _ : state) CallOrDie(loop, kCallsPerLoop);
  state.SetItemsProcessed(state.iterations() * kCallsPerLoop);
}

void Register() {
  for (const EngineToMeasure& engine : EnginesToMeasure()) {
    const auto subject = std::make_shared<const Subject>(engine);
    for (const PolicyRow& row : PolicyRows()) {
      benchmark::RegisterBenchmark(
          absl::StrCat("BM_PolicyCall/", engine.name, "/", row.name).c_str(),
          [subject, row](benchmark::State& state) {
            PolicyCall(state, *subject, row);
          });
    }
  }
}

}  // namespace
}  // namespace callgate

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  callgate::Register();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
