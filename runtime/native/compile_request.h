// What is asked of the compiler, apart from the module's bytes. Part of the
// code cache's key.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILE_REQUEST_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILE_REQUEST_H_

#include <cstdint>

#include "runtime/admission/features.h"

namespace callgate::native {

enum class Level : uint8_t {
  kBaseline,   // at once: no optimiser
  kOptimised,  // several times slower to make, and faster to run
};

// Processor features that code may use: the named levels of the x86-64 psABI.
enum class CpuLevel : uint8_t { kX86_64_v2, kX86_64_v3 };

struct CompileRequest {
  Level level = Level::kBaseline;
  CpuLevel cpu = CpuLevel::kX86_64_v2;
  // Count executed operators.
  bool fuel = true;
  // Give every NaN that an operator makes the same bits.
  bool canonical_nans = true;
  admission::Features features;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILE_REQUEST_H_
