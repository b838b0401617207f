// What the policy engine adds to an event, by what its policy says.
//
//   BM_PolicyCall/ENGINE/no_hook         nothing is asked
//                       /bare_hook       a hook that lets every call go on
//                       /bare_both       the same, which wants the end of a
//                                        call as well
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
//                                        applies: the calls are noted
//                       /sequence_begins each call is the first of two steps
//                       /sequence_waits  each is the second, and none is first
//                       /count           calls in a window, too few of them
//                       /ngram           a frozen profile knows every n-gram
//                       /two_answers     two_predicates, and what conditions
//                                        say is kept, as the daemon does
//                       /suppressed      each call is recorded, and suppression
//                                        counts it instead of telling it
//   BM_PolicyGrowth/ENGINE/no_hook, bare_hook, quiet, rule
//                                        a growth by no pages; a rule about it
//   BM_PolicyFunction/ENGINE/unprobed, bare_hook, rule
//                                        a call of a function of the guest's
//                                        own; a rule about its two arguments
//
// The targets are ratios to bare_hook: none_of_50 1.2, two_predicates 12,
// five_of_50 30, temporal rules and n-grams 8.
//
// A loop of 10,000 events; "items" are events. What is told of a decision may
// allocate; no other event may, which every row but log_50_rules asserts.

#include <benchmark/benchmark.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "policy/anomaly/profile_book.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/policy_hook.h"
#include "runtime/check.h"
#include "runtime/function_filter.h"
#include "tests/bench/engines.h"
#include "tests/bench/measured_store.h"
#include "tests/support/allocations.h"

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
  explicit BareHook(TransitionSet wanted) : wanted_(wanted) {}
  TransitionSet OnLink(const FunctionIdentity&) override { return wanted_; }
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }

 private:
  const TransitionSet wanted_;
};

struct PolicyRow {
  std::string name;
  int entries = 0;   // env.nop and env.add among them; 0: no hook
  std::string more;  // what else the file says
  bool keep_answers = false;
  bool learns = false;     // and is frozen before it is measured
  bool allocates = false;  // since it tells what it decides
};

// kCallingGuest's loop of calls, and loops of what a guest does by itself.
constexpr char kBusyGuest[] = R"((module
  (memory 1 10)
  (func $work (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "grows") (param $n i32)
    (loop $more
      (drop (memory.grow (i32.const 0)))
      (br_if $more
        (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "works") (param $n i32) (result i32)
    (local $sum i32)
    (loop $more
      (local.set $sum (call $work (local.get $sum) (local.get $n)))
      (br_if $more
        (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))))";

constexpr char kAnomaly[] = R"(anomaly:
  - id: shape
    learning: { min_calls: 1000, min_runs: 1, stable_novelty: 1.0 }
    thresholds:
      - { when: 'score.frame >= 3', action: log }
      - { when: 'score.frame >= 10', action: throttle, throttle: { base_delay: 0.005s, factor: 2, max_delay: 1s, cool_down: 30s } }
    frequency: { ewma_alpha: 0.05, z_score: 6, min_samples: 1000, action: alert }
)";

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
      {"bare_both", 0, ""},
      {"allow_1_rule", 2, ""},
      {"allow_50_rules", 50, ""},
      {"log_50_rules", 49, log, false, false, true},
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
      {"ngram", 2, kAnomaly, false, true},
      {"two_answers", 2, Conditions(1, 1), true},
      {"suppressed", 2,
       absl::StrCat("defaults: { suppression: { burst: 1, period: 3600s, "
                    "group_by: [rule, module.digest] } }\nrules:\n  - { id: "
                    "seen, when: 'call.import == \"env.add\"', action: log "
                    "}\n")},
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

// A policy without more than its head, and `more`.
std::shared_ptr<const policy::Policy> CompileBody(const std::string& more) {
  policy::CompileResult compiled = policy::CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: { name: p }\n",
                   more),
      "p.yaml");
  for (const policy::Problem& problem : compiled.problems) {
    CALLGATE_CHECK(false, problem.ToString().c_str());
  }
  return std::move(compiled.policy);
}

// An engine and its guests, compiled once for all the rows about them.
struct Subject {
  explicit Subject(const EngineToMeasure& which)
      : interprets(which.name == "reference"),
        engine(which.make()),
        module(CompileWat(*engine, kCallingGuest)),
        busy(CompileWat(*engine, kBusyGuest)) {}

  const bool interprets;  // and allocates for each call by itself
  const std::unique_ptr<Engine> engine;
  const std::shared_ptr<const Module> module;
  const std::shared_ptr<const Module> busy;
  const Linker linker = HostFunctions();
};

const policy::StoreFacts kFacts = {"bench", "default", "sha256:00", "guest"};

// Runs the loop, and before that looks that its events allocate nothing.
void Measure(benchmark::State& state, const Func& loop, bool allocates) {
  const auto allocations = [&loop](uint32_t events) {
    const uint64_t before = AllocationCount();
    CallOrDie(loop, events);
    return AllocationCount() - before;
  };
  // Whatever is kept for the next event is there after some of them.
  CallOrDie(loop, 3'000);
  if (!allocates) {
    CALLGATE_CHECK(allocations(kCallsPerLoop) == allocations(1),
                   "an event that is not told allocates nothing");
  }
  for (auto _ : state) CallOrDie(loop, kCallsPerLoop);
  state.SetItemsProcessed(state.iterations() * kCallsPerLoop);
}

// Has `policy` learn what a run of the loop is like, and freezes that.
void Learn(const Subject& subject,
           const std::shared_ptr<const policy::Policy>& policy,
           policy::anomaly::ProfileBook* book) {
  DeafSink sink;
  policy::PolicyHook::Options options;
  options.profiles = book;
  {
    policy::PolicyHook hook({policy}, kFacts, Now, sink, options);
    const MeasuredStore store(*subject.engine, subject.module, subject.linker,
                              &hook);
    CallOrDie(store.Find("adds"), kCallsPerLoop);
    for (const absl::Status& told : hook.FinishLearning()) {
      CALLGATE_CHECK(told.ok(), "the profile takes the run in");
    }
  }
  const auto ids = book->List(kFacts.tenant);
  CALLGATE_CHECK(ids.size() == 1, "there is one profile");
  const absl::Status frozen =
      book->Edit(ids[0], [](policy::anomaly::Profile& profile) {
        absl::Status approved = profile.Approve();
        return approved.ok() ? profile.Freeze() : approved;
      });
  CALLGATE_CHECK(frozen.ok(), "the profile is approved and frozen");
}

void PolicyCall(benchmark::State& state, const Subject& subject,
                const PolicyRow& row) {
  DeafSink sink;
  policy::anomaly::ProfileBook book(nullptr);
  std::unique_ptr<CallHook> hook;
  HookOptions options;
  if (row.name == "bare_hook") {
    hook = std::make_unique<BareHook>(
        TransitionSet::None().With(Transition::kCallingHost));
  } else if (row.name == "bare_both") {
    hook = std::make_unique<BareHook>(TransitionSet::HostCalls());
  } else if (row.entries > 0) {
    const std::shared_ptr<const policy::Policy> policy = CompileRow(row);
    policy::PolicyHook::Options how;
    how.keep_answers = row.keep_answers;
    if (row.learns) {
      Learn(subject, policy, &book);
      how.profiles = &book;
    }
    auto judge = std::make_unique<policy::PolicyHook>(
        std::vector<std::shared_ptr<const policy::Policy>>{policy}, kFacts, Now,
        sink, how);
    options.call_ring = judge->call_ring();
    hook = std::move(judge);
  }
  const MeasuredStore store(*subject.engine, subject.module, subject.linker,
                            hook.get(), options);
  Measure(state, store.Find("adds"), row.allocates || subject.interprets);
}

// A row about what a guest does by itself: `export_name` is the loop, `more`
// what the policy says.
struct InnerRow {
  std::string name;  // no_hook, bare_hook: no policy
  std::string more;
};

// Hears of what guests do by themselves, and lets it.
class BareInnerHook final : public CallHook {
 public:
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
};

void PolicyInner(benchmark::State& state, const Subject& subject,
                 const std::string& export_name, const std::string& probed,
                 const InnerRow& row) {
  DeafSink sink;
  std::unique_ptr<CallHook> hook;
  HookOptions options;
  if (row.name == "bare_hook") {
    hook = std::make_unique<BareInnerHook>();
    if (!probed.empty()) {
      CALLGATE_CHECK(options.probes.Add(probed).ok(), "a filter takes a name");
    }
  } else if (!row.more.empty()) {
    auto judge = std::make_unique<policy::PolicyHook>(
        std::vector<std::shared_ptr<const policy::Policy>>{
            CompileBody(row.more)},
        kFacts, Now, sink);
    judge->SelectFunctions([&subject](const FunctionFilter& filter) {
      return subject.busy->FunctionsOf(filter);
    });
    CALLGATE_CHECK(judge->AddProbes(&options.probes).ok(),
                   "the probes can be had");
    CALLGATE_CHECK(judge->pending_rules().empty(), "the rule fits a function");
    options.call_ring = judge->call_ring();
    hook = std::move(judge);
  }
  const MeasuredStore store(*subject.engine, subject.busy, subject.linker,
                            hook.get(), options);
  Measure(state, store.Find(export_name), subject.interprets);
}

void Register() {
  for (const EngineToMeasure& engine : EnginesToMeasure()) {
    const auto subject = std::make_shared<const Subject>(engine);
    for (const PolicyRow& row : PolicyRows()) {
      // There is nothing to pay with.
      if (row.name == "priced" && !engine.metered) continue;
      benchmark::RegisterBenchmark(
          absl::StrCat("BM_PolicyCall/", engine.name, "/", row.name).c_str(),
          [subject, row](benchmark::State& state) {
            PolicyCall(state, *subject, row);
          });
    }
    const std::vector<InnerRow> growths = {
        {"no_hook", ""},
        {"bare_hook", ""},
        {"quiet", "imports: []\n"},
        {"rule",
         "rules:\n  - { id: big, event: memory_grow, when: "
         "'store.memory_bytes > 50 * 1024 * 1024', action: deny }\n"},
    };
    for (const InnerRow& row : growths) {
      benchmark::RegisterBenchmark(
          absl::StrCat("BM_PolicyGrowth/", engine.name, "/", row.name).c_str(),
          [subject, row](benchmark::State& state) {
            PolicyInner(state, *subject, "grows", "", row);
          });
    }
    const std::vector<InnerRow> functions = {
        {"unprobed", ""},
        {"bare_hook", ""},
        {"rule",
         "rules:\n  - { id: work, event: function, function: \"#0\", when: "
         "'args.p0 == 70000 && args.p1 == 80000', action: deny }\n"},
    };
    for (const InnerRow& row : functions) {
      benchmark::RegisterBenchmark(
          absl::StrCat("BM_PolicyFunction/", engine.name, "/", row.name)
              .c_str(),
          [subject, row](benchmark::State& state) {
            PolicyInner(state, *subject, "works", "#0", row);
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
