// A way into the compiler between translation and code generation, for tests
// that plant mistakes there. Compile() of compiler.h, which is all that the
// worker's protocol reaches, never goes this way.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_TAMPERING_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_TAMPERING_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "llvm/IR/Module.h"
#include "runtime/native/compile_request.h"

namespace callgate::native {

// Changes what was translated. Several threads at once.
using Tamper = std::function<void(llvm::Module&)>;

absl::StatusOr<std::string> CompileTampered(const CompileRequest& request,
                                            absl::Span<const uint8_t> module,
                                            const Tamper& tamper);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_TAMPERING_H_
