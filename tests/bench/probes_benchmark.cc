// The price of a probe: a loop of calls of an inner function, by what the hook
// selects.
//
//   BM_InnerCall/ENGINE/no_hook    no hook is installed
//   BM_InnerCall/ENGINE/nothing    a hook that selects nothing
//   BM_InnerCall/ENGINE/another    a hook that selects a function which the
//                                  loop does not call: to cost as much
//   BM_InnerCall/ENGINE/called     a hook that selects the called one
//   BM_ProbedInstantiation/ENGINE/SELECTION  a Store with one instance
//
// "Items" are calls, or Stores.

#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "tests/bench/engines.h"
#include "tests/bench/measured_store.h"

namespace callgate {
namespace {

constexpr uint32_t kCallsPerLoop = 10'000;

constexpr char kGuest[] = R"((module
  (func $leaf (param i32) (result i32)
    (i32.add (local.get 0) (i32.const 1)))
  (func $idle (param i32) (result i32) (local.get 0))
  (func (export "loop") (param $n i32) (result i32)
    (local $sum i32)
    (loop $more
      (local.set $sum (call $leaf (local.get $sum)))
      (br_if $more
        (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "idles") (param i32) (result i32)
    (call $idle (local.get 0)))))";

class CountingHook final : public CallHook {
 public:
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
  EntryAnswer OnFunctionEnter(const FunctionEntry&) override {
    ++entries_;
    return nullptr;
  }
  void OnFunctionLeave(const FunctionExit&) override { ++exits_; }

 private:
  uint64_t entries_ = 0;
  uint64_t exits_ = 0;
};

struct Selection {
  std::string name;
  bool has_hook;
  std::string pattern;
};

std::vector<Selection> Selections() {
  return {{"no_hook", false, ""},
          {"nothing", true, ""},
          {"another", true, "idle"},
          {"called", true, "leaf"}};
}

HookOptions OptionsOf(const Selection& selection) {
  HookOptions options;
  if (!selection.pattern.empty()) {
    CALLGATE_CHECK(options.probes.AddPattern(selection.pattern).ok(),
                   "the benchmark's pattern is one");
  }
  return options;
}

struct Subject {
  explicit Subject(const EngineToMeasure& which)
      : engine(which.make()), module(CompileWat(*engine, kGuest)) {}

  const std::unique_ptr<Engine> engine;
  const std::shared_ptr<const Module> module;
};

void InnerCall(benchmark::State& state, const Subject& subject,
               const Selection& selection) {
  CountingHook hook;
  const MeasuredStore store(*subject.engine, subject.module, Linker(),
                            selection.has_hook ? &hook : nullptr,
                            OptionsOf(selection));
  const Func loop = store.Find("loop");
  for (auto _ : state) CallOrDie(loop, kCallsPerLoop);
  state.SetItemsProcessed(state.iterations() * kCallsPerLoop);
}

// With other Stores of the same selection about, as in a daemon, or alone.
void ProbedInstantiation(benchmark::State& state, const Subject& subject,
                         const Selection& selection, bool alone) {
  CountingHook hook;
  const HookOptions options = OptionsOf(selection);
  std::unique_ptr<MeasuredStore> other;
  if (!alone) {
    other = std::make_unique<MeasuredStore>(*subject.engine, subject.module,
                                            Linker(), &hook, options);
  }
  for (auto _ : state) {
    const MeasuredStore store(*subject.engine, subject.module, Linker(), &hook,
                              options);
    benchmark::DoNotOptimize(&store);
  }
  state.SetItemsProcessed(state.iterations());
}

void Register() {
  for (const EngineToMeasure& engine : EnginesToMeasure()) {
    const auto subject = std::make_shared<const Subject>(engine);
    for (const Selection& selection : Selections()) {
      benchmark::RegisterBenchmark(
          absl::StrCat("BM_InnerCall/", engine.name, "/", selection.name)
              .c_str(),
          [subject, selection](benchmark::State& state) {
            InnerCall(state, *subject, selection);
          });
      if (!selection.has_hook || selection.name == "another") continue;
      for (const bool alone : {false, true}) {
        benchmark::RegisterBenchmark(
            absl::StrCat("BM_ProbedInstantiation/", engine.name, "/",
                         selection.name, alone ? "/alone" : "/among_others")
                .c_str(),
            [subject, selection, alone](benchmark::State& state) {
              ProbedInstantiation(state, *subject, selection, alone);
            });
      }
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
