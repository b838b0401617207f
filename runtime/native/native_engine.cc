#include "runtime/native/native_engine.h"

#include <utility>

#include "runtime/backend.h"
#include "runtime/check.h"
#include "runtime/native/engine_state.h"
#include "runtime/native/native_code.h"
#include "runtime/native/native_store.h"

namespace callgate {
namespace native {
namespace {

class NativeEngine final : public backend::Engine {
 public:
  explicit NativeEngine(const NativeOptions& options) : options_(options) {
    CALLGATE_CHECK(options_.source != nullptr,
                   "a native engine needs somebody who compiles");
    state_.metered = options_.request.fuel;
  }

  absl::string_view name() const override { return "native"; }

  absl::StatusOr<std::unique_ptr<const backend::Code>> Compile(
      absl::Span<const uint8_t> bytes, const admission::ModuleSummary& summary,
      const admission::Features& features) const override {
    CompileRequest request = options_.request;
    request.features = features;
    absl::StatusOr<std::string> answer =
        options_.source->Compile(request, bytes);
    if (!answer.ok()) return answer.status();
    LoadOptions load;
    load.code_bytes_max = options_.code_bytes_max;
    absl::StatusOr<std::shared_ptr<NativeModule>> module = NativeModule::Make(
        *answer, request.level, summary, bytes, *state_.types, load);
    if (!module.ok()) return module.status();
    return std::unique_ptr<const backend::Code>(
        std::make_unique<NativeCode>(*std::move(module), state_.publications));
  }

  std::unique_ptr<backend::Store> NewStore(
      backend::Host& host, const admission::Features& features,
      const Limits& limits) const override {
    return std::make_unique<NativeStore>(state_, host, features, limits);
  }

 private:
  const NativeOptions options_;
  // Thread-safe: what it holds is shared by the Stores.
  mutable EngineState state_;
};

}  // namespace
}  // namespace native

std::unique_ptr<Engine> NewNativeEngine(EngineOptions options,
                                        const NativeOptions& native) {
  return std::make_unique<Engine>(
      std::move(options), std::make_unique<native::NativeEngine>(native));
}

}  // namespace callgate
