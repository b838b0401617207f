// What a worker runs: a function from a module to its machine code.
//
// Implemented beside LLVM and linked into `callgate-compile` only. One thread
// calls all of it, in this order, but not in one process: WarmUp in the zygote,
// then, in each of the workers that are forked from there, Rehearse and Compile
// once each.
//
// Compile runs with the powers that confine.h leaves: no file can be opened and
// no memory made executable; threads may be started, in Compile only. What is
// to be read from the system (the number of processors, the processor's model)
// is to be read in WarmUp.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_COMPILER_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_COMPILER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/native/compile_request.h"

namespace callgate::native {

class Compiler {
 public:
  virtual ~Compiler() = default;

  // Initialises what every worker then has. Must leave no thread running.
  virtual void WarmUp() const {}

  // Touches in a worker what a compilation will touch, a small module of its
  // own for example, while the worker waits and has seen nothing of a
  // stranger's. Must leave no thread running.
  virtual void Rehearse() const {}

  // A serialised CompiledModule. A status of any code is the module's fault;
  // its message, of which kTextBytesMax printable bytes are kept, is the
  // tenant's to read.
  virtual absl::StatusOr<std::string> Compile(
      const CompileRequest& request,
      absl::Span<const uint8_t> module) const = 0;
};

// Ends the worker in a way that says it wanted more memory than it may have.
// For handlers of failed allocations; that of operator new is set already.
[[noreturn]] void EndOutOfMemory();

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_COMPILER_H_
