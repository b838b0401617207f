#include "tests/bench/engines.h"

#include "runtime/native/hosted_engine.h"
#include "runtime/reference/reference_engine.h"
#include "tests/support/native_engine.h"

namespace callgate {
namespace {

std::unique_ptr<Engine> NewNative(native::Level level, bool fuel) {
  native::CompileRequest request;
  request.level = level;
  request.fuel = fuel;
  request.cpu = HostCpuLevel();
  return NewInProcessNativeEngine(EngineOptions(), request);
}

}  // namespace

std::vector<EngineToMeasure> EnginesToMeasure() {
  using native::Level;
  return {
      {"reference", true, [] { return NewReferenceEngine(); }},
      {"native_baseline", false,
       [] { return NewNative(Level::kBaseline, false); }},
      {"native_optimised", false,
       [] { return NewNative(Level::kOptimised, false); }},
      {"native_optimised_fuel", true,
       [] { return NewNative(Level::kOptimised, true); }},
  };
}

}  // namespace callgate
