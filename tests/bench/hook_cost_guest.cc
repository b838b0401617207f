// One piece of work, done a number of times, for counting its instructions:
//
//   hook_cost_guest link|instantiate|host_calls|leaf_calls|entries TIMES
//   hook_cost_guest hooked_host_calls|hooked_leaf_calls|hooked_entries TIMES
//
// tests/bench/hook_cost runs it under callgrind, twice with different numbers;
// what is the same in both is not the work's. Only for what is hooked there is
// a hook, which lets everything proceed.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "runtime/call_hook.h"
#include "runtime/check.h"
#include "tests/bench/engines.h"
#include "tests/bench/measured_store.h"

namespace callgate {
namespace {

constexpr char kEngine[] = "native_optimised";

class NullHook final : public CallHook {
 public:
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
};

struct Work {
  std::unique_ptr<Engine> engine;
  std::shared_ptr<const Module> module;

  Linker linker = HostFunctions();
  Linker leaves = LeafFunctions();

  MeasuredStore NewStore(const Linker& with, CallHook* hook = nullptr) const {
    return MeasuredStore(*engine, module, with, hook);
  }
};

bool Do(absl::string_view what, uint32_t times, const Work& work) {
  if (what == "link") {
    for (uint32_t i = 0; i < times; ++i) {
      const Linker linker = HostFunctions();
      static_cast<void>(linker);
    }
    return true;
  }
  if (what == "instantiate") {
    for (uint32_t i = 0; i < times; ++i) {
      const MeasuredStore store = work.NewStore(work.linker);
    }
    return true;
  }
  NullHook hook;
  const bool hooked = absl::ConsumePrefix(&what, "hooked_");
  const bool leaf = what == "leaf_calls";
  if (!leaf && what != "host_calls" && what != "entries") return false;
  const MeasuredStore store =
      work.NewStore(leaf ? work.leaves : work.linker, hooked ? &hook : nullptr);
  if (what == "entries") {
    const Func entered = store.Find("leaf");
    for (uint32_t i = 0; i < times; ++i) CallOrDie(entered, i);
    return true;
  }
  CallOrDie(store.Find("adds"), times);
  return true;
}

int Main(int argc, char** argv) {
  uint32_t times = 0;
  if (argc != 3 || !absl::SimpleAtoi(argv[2], &times) || times == 0) {
    std::fprintf(stderr, "usage: %s WORK TIMES\n", argv[0]);
    return 64;
  }
  Work work;
  for (const EngineToMeasure& engine : EnginesToMeasure()) {
    if (engine.name != kEngine) continue;
    work.engine = engine.make();
  }
  CALLGATE_CHECK(work.engine != nullptr, "the engine is among those measured");
  work.module = CompileWat(*work.engine, kCallingGuest);
  if (Do(argv[1], times, work)) return 0;
  std::fprintf(stderr, "%s: no such work: %s\n", argv[0], argv[1]);
  return 64;
}

}  // namespace
}  // namespace callgate

int main(int argc, char** argv) { return callgate::Main(argc, argv); }
