#include "tests/bench/engines.h"

#include "runtime/reference/reference_engine.h"

namespace callgate {

std::vector<EngineToMeasure> EnginesToMeasure() {
  return {
      {"reference", [] { return NewReferenceEngine(); }},
  };
}

}  // namespace callgate
