#include "tests/isolation/native_guest.h"

#include <mutex>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/native/compiler/compiler.h"
#include "runtime/native/compiler/planted_faults.h"
#include "runtime/native/native_engine.h"

namespace callgate {
namespace {

class Source final : public native::CodeSource {
 public:
  explicit Source(Checks checks) : checks_(checks) {}
  absl::StatusOr<std::string> Compile(
      const native::CompileRequest& request, absl::Span<const uint8_t> module,
      absl::string_view /*account*/) override {
    static std::once_flag once;
    std::call_once(once, &native::LlvmCompiler::Initialise);
    return checks_ == Checks::kAll
               ? native::LlvmCompiler::Compile(request, module)
               : native::CompileWithoutChecks(request, module);
  }

 private:
  const Checks checks_;
};

}  // namespace

std::unique_ptr<Engine> NewGuestEngine(native::Level level, Checks checks) {
  static Source* const checked = new Source(Checks::kAll);
  static Source* const unchecked = new Source(Checks::kNone);
  NativeOptions options;
  options.request.level = level;
  options.source = checks == Checks::kAll ? checked : unchecked;
  return NewNativeEngine(EngineOptions(), options);
}

}  // namespace callgate
