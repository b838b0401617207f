// WebAssembly in, machine code out: what the worker process does with a module.
//
// One translator makes both levels. The module is cut into partitions of
// neighbouring functions, each an LLVM module of its own that a thread
// translates and compiles by itself; the loader links them.
//
// Compile() may be called from any thread after Initialise(), though the worker
// calls it once. LLVM may abort the process on an internal error or when memory
// runs out: that is what the process is for.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_COMPILER_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_COMPILER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/native/compile_request.h"

namespace callgate::native {

class LlvmCompiler {
 public:
  // Once per process.
  static void Initialise();

  // A serialised CompiledModule. InvalidArgument when the bytes are not a valid
  // module; Unimplemented, naming it, for what is not translated; Internal when
  // LLVM failed.
  static absl::StatusOr<std::string> Compile(const CompileRequest& request,
                                             absl::Span<const uint8_t> module);
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_COMPILER_H_
