// A thousand rules are replaced, again and again, while a guest calls the host
// as fast as it can: no call is lost, none is judged by two versions, and what
// a replacement costs the guest is printed beside what its decisions cost.

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/policy_hook.h"
#include "runtime/admission/module_limits.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/reference/reference_engine.h"
#include "runtime/store.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using policy::Policy;
using policy::PolicyHook;

constexpr int kRules = 1'000;
constexpr uint32_t kCallsPerRun = 2'000;
constexpr int kReplacements = 60;

constexpr char kGuest[] = R"((module
  (import "env" "add" (func $add (param i32) (result i32)))
  (func (export "run") (param $n i32) (result i32)
    (local $denied i32)
    (loop $more
      (if (call $add (local.get $n))
        (then (local.set $denied
          (i32.add (local.get $denied) (i32.const 1)))))
      (br_if $more
        (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $denied))))";

// The time that this thread used. Others run on this machine.
double ThreadMicroseconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 +
         static_cast<double>(now.tv_nsec) * 1e-3;
}

// Measures the hook behind it.
class TimingHook final : public CallHook {
 public:
  explicit TimingHook(PolicyHook& hook) : hook_(hook) {}

  TransitionSet OnLink(const FunctionIdentity& function) override {
    return hook_.OnLink(function);
  }
  Disposition OnTransition(CallContext& call) override {
    if (call.transition() != Transition::kCallingHost) {
      return hook_.OnTransition(call);
    }
    const bool takes_over = hook_.has_offer();
    if (takes_over) {
      // What the decision would do first. Both are outside of other calls.
      const double start = ThreadMicroseconds();
      hook_.TakeOver();
      took_over.push_back(ThreadMicroseconds() - start);
    }
    const double begin = ThreadMicroseconds();
    const Disposition answer = hook_.OnTransition(call);
    (takes_over ? took_first : took).push_back(ThreadMicroseconds() - begin);
    ++calls;
    answered += answer == Disposition::kAnswer ? 1 : 0;
    return answer;
  }

  // Decisions; taking new rules over; the first decision under them.
  std::vector<double> took;
  std::vector<double> took_over;
  std::vector<double> took_first;
  uint64_t calls = 0;
  uint64_t answered = 0;

 private:
  PolicyHook& hook_;
};

// Whether every decision is of one version, which its rules' names tell.
class VersionSink final : public policy::DecisionSink {
 public:
  void OnDecision(const policy::DecisionRecord& d) override {
    for (const policy::RuleMatch& m : d.matches) {
      whole = whole && m.rule[0] == d.matches[0].rule[0] &&
              m.policy_version == d.matches[0].policy_version;
    }
    whole = whole && d.matches.size() == 2;
    ++decisions;
  }
  void OnEngineFault(const policy::StoreFacts&, absl::string_view) override {
    whole = false;
  }
  bool whole = true;
  uint64_t decisions = 0;
};

// `letter` begins the ids of its rules. `applicable` of them are about env.add.
std::shared_ptr<const Policy> ThousandRules(char letter, int applicable,
                                            bool denies) {
  std::string yaml = absl::StrCat(
      "api_version: callgate.policy/v1\nkind: Policy\nmetadata: { name: p }\n"
      "imports:\n"
      "  - { import: env.add, action: allow, args: [ { name: x, index: 0, "
      "type: u32 } ] }\n  - { id: ",
      std::string(1, letter),
      "-all, import: env.add, action: ", denies ? "deny" : "log",
      " }\n  - { id: ", std::string(1, letter),
      "-too, import: env.add, action: alert }\nrules:\n");
  for (int i = 2; i < kRules; ++i) {
    absl::StrAppend(&yaml, "  - { id: ", std::string(1, letter), i, ", when: '",
                    i < applicable + 2
                        ? absl::StrCat("call.import == \"env.add\" && "
                                       "args.x == ",
                                       1'000'000 + i)
                        : absl::StrCat("call.import == \"other.f", i, "\""),
                    "', action: trap }\n");
  }
  policy::CompileResult compiled = policy::CompilePolicyText(yaml, "p.yaml");
  EXPECT_TRUE(compiled.ok())
      << (compiled.problems.empty() ? "" : compiled.problems[0].ToString());
  return compiled.policy;
}

class ReloadUnderLoad : public testing::TestWithParam<int> {};

TEST_P(ReloadUnderLoad, LosesNoCall) {
  const auto log = ThousandRules('l', GetParam(), false);
  const auto deny = ThousandRules('d', GetParam(), true);
  ASSERT_TRUE(log != nullptr && deny != nullptr);
  VersionSink sink;
  PolicyHook hook({log}, {"s1", "acme", "sha256:00", "guest"}, absl::Now, sink);
  TimingHook timing(hook);
  const std::unique_ptr<Engine> engine = NewReferenceEngine();
  const auto bytes = AssembleWat(kGuest);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const auto module = Module::Compile(*engine, *bytes);
  ASSERT_TRUE(module.ok()) << module.status();
  Store store(*engine, Limits());
  ASSERT_TRUE(store.SetCallHook(timing).ok());
  Linker linker;
  std::atomic<uint64_t> ran{0};
  HostDefinition add;
  add.type = {{ValType::kI32}, {ValType::kI32}};
  add.spec.errno_result = true;
  add.body = [&ran](Caller&, absl::Span<const RawValue>,
                    absl::Span<RawValue> results) -> ErrorRef {
    ++ran;
    results[0] = RawValue::I32(0);
    return nullptr;
  };
  ASSERT_TRUE(linker.DefineFunc("env", "add", std::move(add)).ok());
  const auto instance = linker.Instantiate(store, *module, "guest");
  ASSERT_TRUE(instance.ok()) << instance.status();
  const auto run = instance->instance->GetFunc("run");
  ASSERT_TRUE(run.ok());

  std::atomic<bool> done{false};
  std::thread replacer([&] {
    for (int i = 0; i < kReplacements; ++i) {
      EXPECT_TRUE(hook.Replace({i % 2 == 0 ? deny : log}).empty());
      hook.CollectReplaced();
      // Until it is in use, so that each one counts.
      while (hook.has_offer()) std::this_thread::yield();
    }
    done = true;
  });
  uint64_t calls = 0;
  uint64_t denied = 0;
  while (!done) {
    const std::vector<Value> args = {Value::I32(kCallsPerRun)};
    const auto called = run->Call(args);
    ASSERT_TRUE(called.ok()) << called.status();
    ASSERT_TRUE(called->returned());
    calls += kCallsPerRun;
    denied += called->values[0].u32();
  }
  replacer.join();

  EXPECT_EQ(timing.calls, calls);
  EXPECT_EQ(ran + timing.answered, calls);
  EXPECT_EQ(denied, timing.answered);
  EXPECT_GT(ran, 0u);
  EXPECT_GT(denied, 0u);
  EXPECT_TRUE(sink.whole);
  EXPECT_EQ(sink.decisions, calls);
  uint64_t counted = 0;
  for (const auto& import : hook.DrainCounts().imports) {
    counted += import.allowed + import.allowed_with_record + import.stopped;
  }
  EXPECT_EQ(counted, calls);

  const auto at = [](std::vector<double> values, double part) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0
                          : values[static_cast<size_t>(
                                part * static_cast<double>(values.size() - 1))];
  };
  // The first decision begins cold: nobody has been judged by its rules before.
  std::vector<double> pauses;
  for (size_t i = 0; i < timing.took_over.size(); ++i) {
    pauses.push_back(timing.took_over[i] + timing.took_first[i]);
  }
  const double median = at(timing.took, 0.5);
  std::printf(
      "%d rules, %d about the import: %zu decisions, median %.2f us, "
      "99.9%% %.2f us, longest %.2f us\n",
      kRules, GetParam(), timing.took.size(), median, at(timing.took, 0.999),
      at(timing.took, 1));
  const auto print = [&](const char* what, const std::vector<double>& values) {
    std::printf(
        "  %zu %s: median %.2f us = %.1f medians of decisions, longest "
        "%.2f us = %.1f\n",
        values.size(), what, at(values, 0.5), at(values, 0.5) / median,
        at(values, 1), at(values, 1) / median);
  };
  print("takeovers alone", timing.took_over);
  print("first decisions after one", timing.took_first);
  print("pauses, which are both", pauses);
  // What is wanted is no more than ten, which the figures above say on a
  // machine that does nothing else. Making or destroying a thousand rules on
  // the guest's time is some thousands of decisions, whatever else the machine
  // does.
  EXPECT_LE(at(timing.took_over, 0.5), 100 * median);
}

INSTANTIATE_TEST_SUITE_P(Rules, ReloadUnderLoad, testing::Values(5, 998));

}  // namespace
}  // namespace callgate
