// A CodeSource that compiles in the calling process. For tests: the daemon has
// it done by another one.

#ifndef CALLGATE_RUNTIME_NATIVE_IN_PROCESS_COMPILER_H_
#define CALLGATE_RUNTIME_NATIVE_IN_PROCESS_COMPILER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/native/native_engine.h"

namespace callgate::native {

class InProcessCompiler final : public CodeSource {
 public:
  absl::StatusOr<std::string> Compile(
      const CompileRequest& request, absl::Span<const uint8_t> module) override;

  // One for the process.
  static InProcessCompiler& Shared();
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_IN_PROCESS_COMPILER_H_
