// The engines that the benchmarks measure. An engine joins by one entry in
// engines.cc; the benchmarks do not change.

#ifndef CALLGATE_TESTS_BENCH_ENGINES_H_
#define CALLGATE_TESTS_BENCH_ENGINES_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/engine.h"

namespace callgate {

struct EngineToMeasure {
  // Part of each benchmark's name: "reference".
  std::string name;
  bool metered = true;
  std::function<std::unique_ptr<Engine>()> make;
};

std::vector<EngineToMeasure> EnginesToMeasure();

}  // namespace callgate

#endif  // CALLGATE_TESTS_BENCH_ENGINES_H_
