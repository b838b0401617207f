#include "runtime/native/in_process_compiler.h"

#include "runtime/native/compiler/compiler.h"

namespace callgate::native {

absl::StatusOr<std::string> InProcessCompiler::Compile(
    const CompileRequest& request, absl::Span<const uint8_t> module) {
  return LlvmCompiler::Compile(request, module);
}

InProcessCompiler& InProcessCompiler::Shared() {
  static InProcessCompiler* const compiler = [] {
    LlvmCompiler::Initialise();
    return new InProcessCompiler();
  }();
  return *compiler;
}

}  // namespace callgate::native
