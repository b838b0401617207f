// How much memory, time and answer a compilation may take, by the module's size
// and the level.
//
// Time is the processors', since the wall clock's is not the module's fault on
// a machine that has much else to do. The wall clock has a limit too, ten times
// as much, for a worker that does nothing.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_LIMITS_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_LIMITS_H_

#include <chrono>
#include <cstdint>

#include "runtime/native/worker/protocol.h"

namespace callgate::native {

// Of all threads of a worker together.
struct CompileTime {
  std::chrono::milliseconds base;
  std::chrono::milliseconds per_kibibyte;  // of the module
  std::chrono::milliseconds max;
};

struct CompileLimits {
  // Address space of a worker above what it starts with.
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint64_t memory_bytes_per_module_byte = 256;
  CompileTime baseline = {std::chrono::seconds(10),
                          std::chrono::milliseconds(10),
                          std::chrono::seconds(60)};
  CompileTime optimised = {std::chrono::seconds(60),
                           std::chrono::milliseconds(60),
                           std::chrono::seconds(300)};
  // Of a serialised CompiledModule. At most kAnswerBytesCeiling.
  uint64_t answer_bytes = 256 << 20;
};

// Whole seconds, as the system limits it.
std::chrono::seconds ProcessorTimeOf(const Order& order,
                                     const CompileLimits& limits);
// From the moment a worker is there.
std::chrono::milliseconds WallTimeOf(const Order& order,
                                     const CompileLimits& limits);

Order MakeOrder(const CompileRequest& request, uint64_t module_bytes,
                const CompileLimits& limits);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_LIMITS_H_
