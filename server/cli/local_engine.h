// The engine of the commands that need no daemon.

#ifndef CALLGATE_SERVER_CLI_LOCAL_ENGINE_H_
#define CALLGATE_SERVER_CLI_LOCAL_ENGINE_H_

#include <memory>

#include "runtime/native/hosted_engine.h"
#include "server/cli/failure.h"

namespace callgate::cli {

// Compiles at the baseline, in a worker process, and keeps nothing on disk.
OrFailure<std::unique_ptr<HostedEngine>> StartLocalEngine();

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_LOCAL_ENGINE_H_
