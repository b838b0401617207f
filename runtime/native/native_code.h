// A compiled module: its image, and its code at the levels made so far.
//
// The baseline is there from the start. A better one may be published later,
// from another thread; Stores take it at their next outermost call. Stores and
// instances share the NativeModule, which outlives the Code that made it where
// they still need it.
//
// For Stores that do without canonical NaNs there is a second line of versions,
// which begins when the first of them asks. It is kept as the first one is.
//
// Any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_NATIVE_CODE_H_
#define CALLGATE_RUNTIME_NATIVE_NATIVE_CODE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/admission/module_summary.h"
#include "runtime/backend.h"
#include "runtime/native/code_map.h"
#include "runtime/native/compile_request.h"
#include "runtime/native/loader/object_loader.h"
#include "runtime/native/module_image.h"
#include "runtime/native/source/source_map.h"
#include "runtime/native/type_registry.h"
#include "runtime/parking_condition.h"

namespace callgate::native {

// The code of one module at one level.
class CodeVersion {
 public:
  Level level() const { return level_; }
  const CodeMap& map() const { return map_; }
  // Covers the module offsets that `map` has.
  const SourceMap& source() const { return source_; }
  // The copy that is used by one instance in each Store, without probes.
  const std::shared_ptr<const LoadedCode>& loaded() const { return loaded_; }

 private:
  friend class NativeModule;
  Level level_ = Level::kBaseline;
  std::vector<std::string> objects_;
  CodeMap map_;
  SourceMap source_;
  std::shared_ptr<const LoadedCode> loaded_;

  // Copies with probes that somebody uses, by the functions that are probed.
  using Probed =
      std::pair<std::vector<uint32_t>, std::weak_ptr<const LoadedCode>>;
  mutable std::mutex probed_mu_;
  mutable std::vector<Probed> probed_;  // guarded by probed_mu_
};

class NativeModule {
 public:
  // `answer` is a serialised CompiledModule, which may be hostile; `summary` is
  // the admission scan's of `bytes`. InvalidArgument says what does not fit;
  // ResourceExhausted and Unavailable as the loader does.
  static absl::StatusOr<std::shared_ptr<NativeModule>> Make(
      absl::string_view answer, Level level,
      const admission::ModuleSummary& summary, absl::Span<const uint8_t> bytes,
      TypeRegistry& types, const LoadOptions& load);

  const ModuleImage& image() const { return *image_; }
  // The process-wide number of each of the module's types.
  const std::vector<uint32_t>& type_ids() const { return type_ids_; }
  // The best that there is. Null before the first one without canonical NaNs.
  std::shared_ptr<const CodeVersion> current(bool canonical_nans = true) const;

  // Puts another compilation of the same module into use. InvalidArgument when
  // it is of another one.
  absl::Status Publish(absl::string_view answer, Level level,
                       bool canonical_nans = true);

  // A copy of its own, at addresses of its own. The `functions` are probed: the
  // module's own, increasing.
  absl::StatusOr<std::shared_ptr<const LoadedCode>> LoadAgain(
      const CodeVersion& version, absl::Span<const uint32_t> functions) const;
  // The copy with these probes that is used by one instance in each Store: made
  // when it is first asked for, and kept for as long as somebody uses it.
  absl::StatusOr<std::shared_ptr<const LoadedCode>> LoadShared(
      const CodeVersion& version, absl::Span<const uint32_t> functions) const;

 private:
  NativeModule() = default;
  absl::StatusOr<std::shared_ptr<const CodeVersion>> Load(
      CompiledModule compiled, Level level) const;

  std::unique_ptr<const ModuleImage> image_;
  std::vector<TypeRegistry::Hold> types_;
  std::vector<uint32_t> type_ids_;
  LoadOptions load_;
  mutable std::mutex mu_;
  // Guarded by mu_.
  std::shared_ptr<const CodeVersion> current_;
  std::shared_ptr<const CodeVersion> any_nans_;  // may be null
};

class NativeCode final : public backend::Code {
 public:
  // Compiles and publishes the first version without canonical NaNs. Blocks its
  // thread, so on a fiber it gets one of its own.
  using CompileAnyNans = std::function<absl::Status()>;

  NativeCode(std::shared_ptr<NativeModule> module,
             std::shared_ptr<std::atomic<uint64_t>> publications,
             CompileAnyNans compile_any_nans)
      : module_(std::move(module)),
        publications_(std::move(publications)),
        compile_any_nans_(std::move(compile_any_nans)) {}

  backend::CodeFacts facts() const override;
  const std::shared_ptr<NativeModule>& module() const { return module_; }
  // NativeModule::Publish, and tells the engine's Stores to look.
  absl::Status Publish(absl::string_view answer, Level level,
                       bool canonical_nans = true) const;
  // Sees to it that there is a version without canonical NaNs. Who comes while
  // one is being made waits for it. A fiber parks.
  absl::Status EnsureAnyNans() const;

 private:
  const std::shared_ptr<NativeModule> module_;
  const std::shared_ptr<std::atomic<uint64_t>> publications_;
  const CompileAnyNans compile_any_nans_;
  mutable std::mutex compile_mu_;
  mutable ParkingCondition compiled_;
  mutable bool compiling_ = false;  // guarded by compile_mu_
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_NATIVE_CODE_H_
