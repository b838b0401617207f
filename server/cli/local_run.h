// A run in this process, without a daemon: the same Session, policies and
// reference engine that the daemon would use, minus its allow-list of
// directories.

#ifndef CALLGATE_SERVER_CLI_LOCAL_RUN_H_
#define CALLGATE_SERVER_CLI_LOCAL_RUN_H_

#include "server/cli/interrupts.h"
#include "server/cli/run_request.h"

namespace callgate::cli {

// Without a policy file, WASI and the stubs are allowed and every other import
// is denied, and a line on stderr says so. The guest reads this process's
// stdin. A signal ends the guest.
RunResult RunLocally(const RunRequest& request, Interrupts& interrupts);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_LOCAL_RUN_H_
