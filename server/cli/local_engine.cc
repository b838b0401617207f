#include "server/cli/local_engine.h"

#include <utility>

namespace callgate::cli {

OrFailure<std::unique_ptr<HostedEngine>> StartLocalEngine() {
  HostedEngineOptions options;
  // One call: it would be over before better code came.
  options.optimise_in_background = false;
  options.service.spares = 1;
  absl::StatusOr<std::unique_ptr<HostedEngine>> engine =
      HostedEngine::Start(std::move(options));
  if (!engine.ok()) return FailureOf(engine.status());
  return *std::move(engine);
}

}  // namespace callgate::cli
