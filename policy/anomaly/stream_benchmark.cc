// What one call costs a stream.
//
//   BM_Step/judge    scored against a profile of the size in the name
//   BM_Step/record   recorded, everything having been seen before

#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "policy/anomaly/learned_stream.h"

namespace callgate::policy::anomaly {
namespace {

constexpr const char* kNames[] = {"a", "b", "c", "d", "e", "f", "g", "h"};

std::vector<MadeCall> RandomCalls(size_t count) {
  std::mt19937 random(1);
  std::vector<MadeCall> calls;
  for (size_t i = 0; i < count; ++i) {
    calls.push_back(
        {kNames[random() % 8], static_cast<uint32_t>(random() % 4)});
  }
  return calls;
}

void Step(benchmark::State& state, bool judges) {
  const std::vector<MadeCall> calls =
      RandomCalls(static_cast<size_t>(state.range(0)));
  Shape shape;
  shape.share_weight = state.range(1) != 0 ? 3277 : 0;
  Profile profile(shape, 20'000);
  if (!profile.Add(Recorded(shape, calls, 20'000), "s", At(1), Always()).ok()) {
    state.SkipWithError("not learned");
    return;
  }
  Stream::Options options;
  options.shape = shape;
  if (judges) {
    options.model = profile.MakeModel();
  } else {
    options.record_ngrams_max = 20'000;
  }
  Stream stream(options);
  std::vector<uint32_t> sites;
  for (const MadeCall& call : calls) {
    const uint32_t functions[] = {call.site, 100};
    sites.push_back(stream.AddSite("env", call.name, functions));
  }
  for (const uint32_t site : sites) {
    stream.Calling(site);
    stream.Returned(ErrnoClass::kOk);
  }
  size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(stream.Calling(sites[at]));
    stream.Returned(ErrnoClass::kOk);
    if (++at == sites.size()) at = 0;
  }
}

void BM_Judge(benchmark::State& state) { Step(state, true); }
void BM_Record(benchmark::State& state) { Step(state, false); }
BENCHMARK(BM_Judge)
    ->ArgNames({"calls", "shares"})
    ->ArgsProduct({{100, 2000, 19000}, {0, 1}});
BENCHMARK(BM_Record)
    ->ArgNames({"calls", "shares"})
    ->ArgsProduct({{100, 2000, 19000}, {0, 1}});

}  // namespace
}  // namespace callgate::policy::anomaly

BENCHMARK_MAIN();
