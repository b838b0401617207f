// One piece of work, done a number of times, for counting its instructions:
//
//   hook_cost_guest link|instantiate|host_calls|leaf_calls|entries TIMES
//
// tests/bench/hook_cost runs it under callgrind, twice with different numbers;
// what is the same in both is not the work's. No hook is ever installed.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "runtime/check.h"
#include "tests/bench/engines.h"
#include "tests/bench/measured_store.h"

namespace callgate {
namespace {

constexpr char kEngine[] = "native_optimised";

struct Work {
  std::unique_ptr<Engine> engine;
  std::shared_ptr<const Module> module;

  Linker linker = HostFunctions();
  Linker leaves = LeafFunctions();

  MeasuredStore NewStore(const Linker& with) const {
    return MeasuredStore(*engine, module, with, nullptr);
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
  const bool leaf = what == "leaf_calls";
  if (!leaf && what != "host_calls" && what != "entries") return false;
  const MeasuredStore store = work.NewStore(leaf ? work.leaves : work.linker);
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
