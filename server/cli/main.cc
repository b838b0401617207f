// callgate, the client: finds the command that the line names, runs it, and
// exits with what it says.

#include <signal.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/cli/command.h"
#include "server/cli/commands.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"

int main(int argc, char** argv) {
  using namespace callgate::cli;  // NOLINT: this file is all of it
  // A reader that goes away, and a file that a guest of ours makes too large,
  // are errors of a write, not a death.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  // gRPC's own log would mix with the guest's stderr; errors arrive as
  // statuses. The user's wish wins.
  setenv("GRPC_VERBOSITY", "NONE", 0);

  const std::vector<std::string> words(argv + 1, argv + argc);
  const absl::StatusOr<Invocation> invocation = Resolve(AllCommands(), words);
  if (!invocation.ok()) {
    Say(invocation.status().message());
    SayMore("see `" + WhereHelpIs(AllCommands(), words) + "`");
    return kExitUsage;
  }
  if (invocation->command == nullptr) return Print(invocation->help);
  return invocation->command->run(invocation->arguments);
}
