#include "tests/support/native_engine.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/call_once.h"
#include "runtime/native/compiler/compiler.h"

namespace callgate {
namespace {

class InProcessSource final : public native::CodeSource {
 public:
  absl::StatusOr<std::string> Compile(const native::CompileRequest& request,
                                      absl::Span<const uint8_t> module,
                                      absl::string_view /*account*/) override {
    static absl::once_flag once;
    absl::call_once(once, &native::LlvmCompiler::Initialise);
    Key key(static_cast<int>(request.level), static_cast<int>(request.cpu),
            request.fuel, request.canonical_nans,
            std::vector<uint8_t>(module.begin(), module.end()));
    {
      const std::lock_guard<std::mutex> lock(mu_);
      const auto known = answers_.find(key);
      if (known != answers_.end()) return known->second;
    }
    absl::StatusOr<std::string> answer =
        native::LlvmCompiler::Compile(request, module);
    // Not what is refused: that depends on the features.
    if (!answer.ok()) return answer;
    const std::lock_guard<std::mutex> lock(mu_);
    if (answers_.size() < kAnswersMax)
      answers_.emplace(std::move(key), *answer);
    return answer;
  }

 private:
  // Tests compile the same few modules again and again.
  static constexpr size_t kAnswersMax = 1'000;
  using Key = std::tuple<int, int, bool, bool, std::vector<uint8_t>>;
  std::mutex mu_;
  std::map<Key, std::string> answers_;  // guarded by mu_
};

}  // namespace

native::CodeSource& InProcessCompiler() {
  static InProcessSource* const source = new InProcessSource;
  return *source;
}

std::unique_ptr<Engine> NewInProcessNativeEngine(
    EngineOptions options, const native::CompileRequest& request) {
  NativeOptions native;
  native.request = request;
  native.source = &InProcessCompiler();
  return NewNativeEngine(std::move(options), native);
}

}  // namespace callgate
