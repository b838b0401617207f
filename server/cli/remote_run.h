// A run that the daemon carries out: RunStream with this process's stdin,
// stdout and stderr at its ends.

#ifndef CALLGATE_SERVER_CLI_REMOTE_RUN_H_
#define CALLGATE_SERVER_CLI_REMOTE_RUN_H_

#include "server/cli/connection.h"
#include "server/cli/interrupts.h"
#include "server/cli/run_request.h"

namespace callgate::cli {

// Uploads the module if the daemon lacks it, and runs it. A signal cancels the
// RPC, which ends the guest.
RunResult RunOnDaemon(const Connection& connection, const RunRequest& request,
                      Interrupts& interrupts);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_REMOTE_RUN_H_
