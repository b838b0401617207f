#include "runtime/native/native_engine.h"

#include <utility>
#include <vector>

#include "runtime/backend.h"
#include "runtime/check.h"
#include "runtime/native/engine_state.h"
#include "runtime/native/native_code.h"
#include "runtime/native/native_store.h"
#include "runtime/native/optimiser.h"

namespace callgate {
namespace native {
namespace {

class NativeEngine final : public backend::Engine {
 public:
  explicit NativeEngine(const NativeOptions& options) : options_(options) {
    CALLGATE_CHECK(options_.source != nullptr,
                   "a native engine needs somebody who compiles");
    CALLGATE_CHECK(options_.request.canonical_nans,
                   "whether NaNs are canonical is each Store's choice");
    state_.metered = options_.request.fuel;
    if (options_.optimise_in_background &&
        options_.request.level == Level::kBaseline) {
      optimiser_ = std::make_unique<Optimiser>();
    }
  }

  absl::string_view name() const override { return "native"; }
  bool metered() const override { return state_.metered; }

  absl::StatusOr<std::unique_ptr<const backend::Code>> Compile(
      absl::Span<const uint8_t> bytes, const admission::ModuleSummary& summary,
      const admission::Features& features,
      absl::string_view account) const override {
    CompileRequest request = options_.request;
    request.features = features;
    absl::StatusOr<std::string> answer =
        options_.source->Compile(request, bytes, account);
    if (!answer.ok()) return answer.status();
    LoadOptions load;
    load.code_bytes_max = options_.code_bytes_max;
    absl::StatusOr<std::shared_ptr<NativeModule>> module = NativeModule::Make(
        *answer, request.level, summary, bytes, *state_.types, load);
    if (!module.ok()) return module.status();
    // Kept: a Store may want the code without canonical NaNs at any time.
    Origin origin;
    origin.request = request;
    origin.bytes = std::make_shared<const std::vector<uint8_t>>(bytes.begin(),
                                                                bytes.end());
    origin.account = std::string(account);
    if (optimiser_ != nullptr) Optimise(*module, origin);
    const std::weak_ptr<NativeModule> weak = *module;
    return std::unique_ptr<const backend::Code>(
        std::make_unique<NativeCode>(*std::move(module), state_.publications,
                                     [this, weak, origin = std::move(origin)] {
                                       return CompileAnyNans(weak, origin);
                                     }));
  }

  std::unique_ptr<backend::Store> NewStore(
      backend::Host& host, const admission::Features& features,
      const StoreOptions& options) const override {
    return std::make_unique<NativeStore>(state_, host, features, options);
  }

 private:
  // What a module was compiled from, to compile it again.
  struct Origin {
    CompileRequest request;
    std::shared_ptr<const std::vector<uint8_t>> bytes;
    std::string account;
  };

  absl::Status CompileAnyNans(const std::weak_ptr<NativeModule>& weak,
                              Origin origin) const {
    origin.request.canonical_nans = false;
    absl::StatusOr<std::string> answer =
        options_.source->Compile(origin.request, *origin.bytes, origin.account);
    if (!answer.ok()) return answer.status();
    const std::shared_ptr<NativeModule> module = weak.lock();
    CALLGATE_CHECK(module != nullptr, "the Code that asks has its module");
    if (absl::Status published = module->Publish(*answer, origin.request.level,
                                                 /*canonical_nans=*/false);
        !published.ok()) {
      return published;
    }
    if (optimiser_ != nullptr) Optimise(module, std::move(origin));
    return absl::OkStatus();
  }

  void Optimise(const std::shared_ptr<NativeModule>& module,
                Origin origin) const {
    origin.request.level = Level::kOptimised;
    const std::weak_ptr<NativeModule> weak = module;
    const auto compile = [this, weak, origin] {
      absl::StatusOr<std::string> answer = options_.source->Compile(
          origin.request, *origin.bytes, origin.account);
      absl::Status status = answer.status();
      if (status.ok()) {
        const std::shared_ptr<NativeModule> still = weak.lock();
        if (still != nullptr) {
          status = still->Publish(*answer, Level::kOptimised,
                                  origin.request.canonical_nans);
          // Stores look at their modules when this changes.
          if (status.ok()) state_.publications->fetch_add(1);
        }
      }
      if (options_.on_optimised) options_.on_optimised(status);
      return status;
    };
    optimiser_->Add(
        origin.account, origin.bytes->size(),
        [weak] { return !weak.expired(); }, compile);
  }

  const NativeOptions options_;
  // Thread-safe: what it holds is shared by the Stores.
  mutable EngineState state_;
  // Last, so that it ends first: its jobs use the rest. Null: not wanted.
  std::unique_ptr<Optimiser> optimiser_;
};

}  // namespace
}  // namespace native

std::unique_ptr<Engine> NewNativeEngine(EngineOptions options,
                                        const NativeOptions& native) {
  return std::make_unique<Engine>(
      std::move(options), std::make_unique<native::NativeEngine>(native));
}

}  // namespace callgate
