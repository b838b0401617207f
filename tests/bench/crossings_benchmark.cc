// The price of a crossing: a guest calling a host function, and the host
// calling a guest, by what sits in the Store's hook.
//
//   BM_HostCall/ENGINE/GUEST/HOOK    a loop of calls; "items" are calls
//   BM_LeafCall/ENGINE/GUEST/HOOK    the same of leaf functions
//   BM_HostCall/ENGINE/turns/no_hook the loop alone, to be taken off
//   BM_GuestCall/ENGINE/HOOK         one call of a function that adds one

#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/bench/engines.h"
#include "tests/bench/measured_store.h"

namespace callgate {
namespace {

constexpr uint32_t kCallsPerLoop = 10'000;

// Lets everything proceed.
class NullHook final : public CallHook {
 public:
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
};

// Wants no transition of any host function.
class FilteredHook final : public CallHook {
 public:
  TransitionSet OnLink(const FunctionIdentity&) override {
    return TransitionSet::None();
  }
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
};

// What is installed, and with which filter.
struct HookRow {
  std::string name;
  std::shared_ptr<CallHook> hook;
  HookOptions options;
};

std::vector<HookRow> HookRows() {
  HookOptions host_calls;
  host_calls.transitions = TransitionSet::HostCalls();
  return {
      {"no_hook", nullptr, {}},
      {"null_hook", std::make_shared<NullHook>(), {}},
      {"filtered_hook", std::make_shared<FilteredHook>(), host_calls},
  };
}

// An engine and its guest, compiled once for all the rows about them.
struct Subject {
  explicit Subject(const EngineToMeasure& which)
      : engine(which.make()), module(CompileWat(*engine, kCallingGuest)) {}

  const std::unique_ptr<Engine> engine;
  const std::shared_ptr<const Module> module;
  const Linker linker = HostFunctions();
  const Linker leaves = LeafFunctions();
};

void HostCall(benchmark::State& state, const Subject& subject,
              const Linker& linker, const HookRow& hook,
              const std::string& guest) {
  const MeasuredStore store(*subject.engine, subject.module, linker,
                            hook.hook.get(), hook.options);
  const Func loop = store.Find(guest);
  for (auto _ : state) CallOrDie(loop, kCallsPerLoop);
  state.SetItemsProcessed(state.iterations() * kCallsPerLoop);
}

void GuestCall(benchmark::State& state, const Subject& subject,
               const HookRow& hook) {
  const MeasuredStore store(*subject.engine, subject.module, subject.linker,
                            hook.hook.get(), hook.options);
  const Func leaf = store.Find("leaf");
  for (auto _ : state) CallOrDie(leaf, 7);
  state.SetItemsProcessed(state.iterations());
}

void Register() {
  for (const EngineToMeasure& engine : EnginesToMeasure()) {
    const auto subject = std::make_shared<const Subject>(engine);
    for (const HookRow& hook : HookRows()) {
      for (const std::string guest : {"nops", "adds", "turns"}) {
        if (guest == "turns" && hook.hook != nullptr) continue;
        benchmark::RegisterBenchmark(
            absl::StrCat("BM_HostCall/", engine.name, "/", guest, "/",
                         hook.name)
                .c_str(),
            [subject, hook, guest](benchmark::State& state) {
              HostCall(state, *subject, subject->linker, hook, guest);
            });
        if (guest == "turns") continue;
        benchmark::RegisterBenchmark(
            absl::StrCat("BM_LeafCall/", engine.name, "/", guest, "/",
                         hook.name)
                .c_str(),
            [subject, hook, guest](benchmark::State& state) {
              HostCall(state, *subject, subject->leaves, hook, guest);
            });
      }
      benchmark::RegisterBenchmark(
          absl::StrCat("BM_GuestCall/", engine.name, "/", hook.name).c_str(),
          [subject, hook](benchmark::State& state) {
            GuestCall(state, *subject, hook);
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
