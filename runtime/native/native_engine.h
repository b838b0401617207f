// The engine that runs modules as machine code.
//
// It compiles nothing itself: a CodeSource does, normally in another process,
// and what it answers is taken for input that may be hostile.

#ifndef CALLGATE_RUNTIME_NATIVE_NATIVE_ENGINE_H_
#define CALLGATE_RUNTIME_NATIVE_NATIVE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/engine.h"
#include "runtime/native/compile_request.h"

namespace callgate::native {

// Makes code. Any thread.
class CodeSource {
 public:
  virtual ~CodeSource() = default;
  // A serialised CompiledModule; baseline requests are urgent, optimised ones
  // can wait. `account` is that of Module::Compile. InvalidArgument when
  // `module` is not valid; Unavailable when it could not be told;
  // ResourceExhausted over the compiler's own limits or the account's budget.
  // Blocks its thread and does not park.
  virtual absl::StatusOr<std::string> Compile(const CompileRequest& request,
                                              absl::Span<const uint8_t> module,
                                              absl::string_view account) = 0;
};

}  // namespace callgate::native

namespace callgate {

struct NativeOptions {
  // Level and the other choices; the features are the engine's, and
  // canonical_nans is each Store's (StoreOptions) and stays true here.
  native::CompileRequest request;
  // Must outlive the engine.
  native::CodeSource* source = nullptr;
  // Of one module.
  uint64_t code_bytes_max = 256 << 20;
  // Compile modules again at the optimised level while their baseline runs.
  bool optimise_in_background = false;
  // Called on the optimiser's thread: what became of a module.
  std::function<void(const absl::Status&)> on_optimised;
};

// Named "native".
std::unique_ptr<Engine> NewNativeEngine(EngineOptions options,
                                        const NativeOptions& native);

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_NATIVE_NATIVE_ENGINE_H_
