// The native engine as programs use it: modules are compiled in worker
// processes, the code is kept in a cache on disk, and better code is made in
// the background.
//
// The baseline is compiled while the caller waits, unless the cache has it. The
// optimised code follows in the background, at once where the cache has that.
// Code from the cache costs no account anything.
//
// Any thread. Must outlive what was made with its Engine.

#ifndef CALLGATE_RUNTIME_NATIVE_HOSTED_ENGINE_H_
#define CALLGATE_RUNTIME_NATIVE_HOSTED_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/engine.h"
#include "runtime/native/cache/code_cache.h"
#include "runtime/native/compile_request.h"
#include "runtime/native/worker/compile_service.h"

namespace callgate {

struct HostedEngineOptions {
  EngineOptions engine;
  // Of what is compiled while the caller waits.
  native::Level level = native::Level::kBaseline;
  bool fuel = true;
  // Compile again at the optimised level in the background.
  bool optimise_in_background = true;
  // Empty: no cache.
  std::string cache_folder;
  uint64_t cache_bytes_max = uint64_t{2} << 30;
  native::CompileService::Options service;
};

class HostedEngine {
 public:
  struct Stats {
    native::CompileService::Stats compiler;
    native::CodeCache::Stats cache;  // zeros without one
    uint64_t optimised = 0;
    uint64_t not_optimised = 0;  // given up: the module stays at the baseline
  };

  // Unavailable names the compiler program and what to do when it cannot be
  // started; the cache's errors are CodeCache::Open's.
  static absl::StatusOr<std::unique_ptr<HostedEngine>> Start(
      HostedEngineOptions options);
  ~HostedEngine();
  HostedEngine(const HostedEngine&) = delete;
  HostedEngine& operator=(const HostedEngine&) = delete;

  const Engine& engine() const { return *engine_; }
  Stats stats() const;

 private:
  class Source;
  HostedEngine();

  std::unique_ptr<native::CodeCache> cache_;
  std::unique_ptr<native::CompileService> service_;
  std::unique_ptr<Source> source_;
  // Last, so that it goes first.
  std::unique_ptr<Engine> engine_;
};

// The best level that this processor has. Code of the higher one is not
// executable below it.
native::CpuLevel HostCpuLevel();

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_NATIVE_HOSTED_ENGINE_H_
