#include "tests/conformance/call_hook/engines.h"

#include "runtime/native/compile_request.h"
#include "runtime/reference/reference_engine.h"
#include "tests/support/native_engine.h"

namespace callgate {
namespace {

EngineOptions Options() {
  EngineOptions options;
  options.features.tail_call = true;
  options.features.exceptions = true;
  return options;
}

std::unique_ptr<Engine> Native(native::Level level) {
  native::CompileRequest request;
  request.level = level;
  return NewInProcessNativeEngine(Options(), request);
}

}  // namespace

std::vector<EngineUnderTest> EnginesUnderTest() {
  return {
      {"reference", [] { return NewReferenceEngine(Options()); }},
      {"native_baseline", [] { return Native(native::Level::kBaseline); }},
      {"native_optimised", [] { return Native(native::Level::kOptimised); }},
  };
}

void PrintTo(const EngineUnderTest& engine, std::ostream* out) {
  *out << engine.name;
}

}  // namespace callgate
