// How much memory, time and answer a compilation may take, by the module's size
// and the level.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_LIMITS_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_LIMITS_H_

#include <chrono>
#include <cstdint>

#include "runtime/native/worker/protocol.h"

namespace callgate::native {

// Of the wall clock, from the moment a worker is there.
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

std::chrono::milliseconds DeadlineOf(const Order& order,
                                     const CompileLimits& limits);

// The processor time is the wall time on every processor, and a second: a
// second line behind the deadline.
Order MakeOrder(const CompileRequest& request, uint64_t module_bytes,
                const CompileLimits& limits);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_LIMITS_H_
