#include "runtime/native/hosted_engine.h"

#include <openssl/sha.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/native/native_engine.h"

namespace callgate {
namespace {

using native::CacheKey;
using native::CompileRequest;
using native::Level;
using native::Priority;

CacheKey::Bytes DigestOf(absl::Span<const uint8_t> bytes) {
  CacheKey::Bytes digest;
  SHA256(bytes.data(), bytes.size(), digest.data());
  return digest;
}

// What the compiler's code is, as far as the cache needs to know: code of
// another compiler is not the same code.
absl::StatusOr<std::string> IdentityOf(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "re");
  if (file == nullptr) {
    return absl::UnavailableError(absl::StrCat(
        "cannot read the compiler ", path, ": ", std::strerror(errno)));
  }
  std::vector<uint8_t> bytes;
  std::vector<uint8_t> buffer(1 << 16);
  size_t got = 0;
  while ((got = std::fread(buffer.data(), 1, buffer.size(), file)) > 0) {
    bytes.insert(bytes.end(), buffer.begin(),
                 buffer.begin() + static_cast<std::ptrdiff_t>(got));
  }
  std::fclose(file);
  const CacheKey::Bytes digest = DigestOf(bytes);
  return std::string(digest.begin(), digest.end());
}

}  // namespace

native::CpuLevel HostCpuLevel() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                 __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
             ? native::CpuLevel::kX86_64_v3
             : native::CpuLevel::kX86_64_v2;
}

class HostedEngine::Source final : public native::CodeSource {
 public:
  Source(native::CompileService& service, native::CodeCache* cache,
         std::string identity)
      : service_(service), cache_(cache), identity_(std::move(identity)) {}

  absl::StatusOr<std::string> Compile(const CompileRequest& request,
                                      absl::Span<const uint8_t> module,
                                      absl::string_view account) override {
    const Priority priority = request.level == Level::kOptimised
                                  ? Priority::kBackground
                                  : Priority::kForeground;
    if (cache_ == nullptr) {
      return service_.Compile(request, module, priority, account);
    }
    const CacheKey key = CacheKey::Of(DigestOf(module), request, identity_);
    if (std::optional<std::string> known = cache_->Lookup(key)) {
      return *std::move(known);
    }
    absl::StatusOr<std::string> answer =
        service_.Compile(request, module, priority, account);
    // A cache that cannot store is counted by itself and costs time only.
    if (answer.ok()) static_cast<void>(cache_->Store(key, *answer));
    return answer;
  }

  void Optimised(const absl::Status& status) {
    (status.ok() ? optimised : not_optimised)
        .fetch_add(1, std::memory_order_relaxed);
  }

  std::atomic<uint64_t> optimised{0};
  std::atomic<uint64_t> not_optimised{0};

 private:
  native::CompileService& service_;
  native::CodeCache* const cache_;  // may be null
  const std::string identity_;
};

HostedEngine::HostedEngine() = default;
HostedEngine::~HostedEngine() = default;

absl::StatusOr<std::unique_ptr<HostedEngine>> HostedEngine::Start(
    HostedEngineOptions options) {
  if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt")) {
    return absl::UnavailableError(
        "the processor lacks SSE4.2 or POPCNT (x86-64-v2), which compiled "
        "modules use; run on a newer one");
  }
  if (options.service.worker_path.empty()) {
    options.service.worker_path = native::DefaultWorkerPath();
  }
  std::unique_ptr<HostedEngine> hosted(new HostedEngine);
  absl::StatusOr<std::unique_ptr<native::CompileService>> service =
      native::CompileService::Start(options.service);
  if (!service.ok()) return service.status();
  hosted->service_ = *std::move(service);
  std::string identity;
  if (!options.cache_folder.empty()) {
    absl::StatusOr<std::string> read = IdentityOf(options.service.worker_path);
    if (!read.ok()) return read.status();
    identity = *std::move(read);
    native::CodeCache::Options cache;
    cache.folder = options.cache_folder;
    cache.bytes_max = options.cache_bytes_max;
    absl::StatusOr<std::unique_ptr<native::CodeCache>> opened =
        native::CodeCache::Open(cache);
    if (!opened.ok()) return opened.status();
    hosted->cache_ = *std::move(opened);
  }
  hosted->source_ = std::unique_ptr<Source>(
      new Source(*hosted->service_, hosted->cache_.get(), std::move(identity)));
  NativeOptions native;
  native.request.level = options.level;
  native.request.fuel = options.fuel;
  native.request.cpu = HostCpuLevel();
  native.source = hosted->source_.get();
  native.optimise_in_background = options.optimise_in_background;
  native.on_optimised =
      [source = hosted->source_.get()](const absl::Status& status) {
        source->Optimised(status);
      };
  hosted->engine_ = NewNativeEngine(std::move(options.engine), native);
  return hosted;
}

HostedEngine::Stats HostedEngine::stats() const {
  Stats stats;
  stats.compiler = service_->stats();
  if (cache_ != nullptr) stats.cache = cache_->stats();
  stats.optimised = source_->optimised.load(std::memory_order_relaxed);
  stats.not_optimised = source_->not_optimised.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace callgate
