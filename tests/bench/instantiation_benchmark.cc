// From no Store to an instance and back to none.
//
//   BM_Instantiate/ENGINE/empty        a module with nothing in it
//   BM_Instantiate/ENGINE/image_64k    64 KiB of data in two pages of memory
//   BM_Instantiate/ENGINE/image_64k_5_pages
//                                      the same, and a call that writes to five
//                                      pages of 4 KiB
//   BM_SlotCycle/image_64k_5_pages     what of that is the memory's alone: a
//                                      slot is taken, the image mapped, five
//                                      pages written, the slot given back
// The time is of making the Store, instantiating, calling and destroying.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/native/memory_image.h"
#include "runtime/native/memory_pool.h"
#include "tests/bench/engines.h"
#include "tests/bench/measured_store.h"

namespace callgate {
namespace {

// 64 KiB that are not zeros.
std::string ImageGuest() {
  std::string data;
  for (int i = 0; i < 65536; ++i) {
    absl::StrAppend(&data, "\\", absl::Hex(i % 255 + 1, absl::kZeroPad2));
  }
  return absl::StrCat(R"((module (memory 2) (data (i32.const 0) ")", data,
                      R"(")
    (func (export "touch") (param $value i32)
      (i32.store8 (i32.const 0) (local.get $value))
      (i32.store8 (i32.const 8192) (local.get $value))
      (i32.store8 (i32.const 20480) (local.get $value))
      (i32.store8 (i32.const 40960) (local.get $value))
      (i32.store8 (i32.const 69632) (local.get $value)))))");
}

void SlotCycle(benchmark::State& state) {
  constexpr uint64_t kBytes = 2 * 65536;
  const std::vector<uint8_t> data(65536, 7);
  const auto image = native::MemoryImage::Make({{0, data}}, kBytes);
  CALLGATE_CHECK(image.ok(), "there is an image");
  native::MemoryPool pool;
  for (auto _ : state) {
    auto slot = pool.Acquire(kBytes);
    CALLGATE_CHECK(slot.ok() && slot->MapImage(**image), "a slot is to be had");
    volatile uint8_t* const bytes = slot->base();
    for (const size_t at : {0u, 8192u, 20480u, 40960u, 69632u}) bytes[at] = 1;
  }
  state.SetItemsProcessed(state.iterations());
}

struct Subject {
  Subject(const EngineToMeasure& which, const std::string& wat)
      : engine(which.make()), module(CompileWat(*engine, wat)) {}

  const std::unique_ptr<Engine> engine;
  const std::shared_ptr<const Module> module;
  const Linker linker;
};

void Register() {
  benchmark::RegisterBenchmark("BM_SlotCycle/image_64k_5_pages", &SlotCycle);
  const std::string image = ImageGuest();
  for (const EngineToMeasure& engine : EnginesToMeasure()) {
    const auto add = [&engine](const std::string& name, const std::string& wat,
                               bool touch) {
      const auto subject = std::make_shared<const Subject>(engine, wat);
      benchmark::RegisterBenchmark(
          absl::StrCat("BM_Instantiate/", engine.name, "/", name).c_str(),
          [subject, touch](benchmark::State& state) {
            for (auto _ : state) {
              const MeasuredStore store(*subject->engine, subject->module,
                                        subject->linker, nullptr);
              if (touch) CallOrDie(store.Find("touch"), 1);
            }
            state.SetItemsProcessed(state.iterations());
          });
    };
    add("empty", "(module)", false);
    add("image_64k", image, false);
    add("image_64k_5_pages", image, true);
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
