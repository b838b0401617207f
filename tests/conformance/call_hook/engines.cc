#include "tests/conformance/call_hook/engines.h"

#include "runtime/reference/reference_engine.h"

namespace callgate {
namespace {

EngineOptions WithTailCalls() {
  EngineOptions options;
  options.features.tail_call = true;
  return options;
}

}  // namespace

std::vector<EngineUnderTest> EnginesUnderTest() {
  return {
      {"reference", [] { return NewReferenceEngine(WithTailCalls()); }},
  };
}

void PrintTo(const EngineUnderTest& engine, std::ostream* out) {
  *out << engine.name;
}

}  // namespace callgate
