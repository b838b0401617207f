#include "tests/support/native_engine.h"

#include <string>
#include <utility>

#include "absl/base/call_once.h"
#include "runtime/native/compiler/compiler.h"
#include "runtime/native/native_engine.h"

namespace callgate {
namespace {

class InProcessSource final : public native::CodeSource {
 public:
  absl::StatusOr<std::string> Compile(
      const native::CompileRequest& request,
      absl::Span<const uint8_t> module) override {
    static absl::once_flag once;
    absl::call_once(once, &native::LlvmCompiler::Initialise);
    return native::LlvmCompiler::Compile(request, module);
  }
};

}  // namespace

std::unique_ptr<Engine> NewInProcessNativeEngine(
    EngineOptions options, const native::CompileRequest& request) {
  static InProcessSource* const source = new InProcessSource;
  NativeOptions native;
  native.request = request;
  native.source = source;
  return NewNativeEngine(std::move(options), native);
}

}  // namespace callgate
