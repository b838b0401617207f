// callgated: reads its flags, starts the daemon, and waits for signals.

#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/config.h"
#include "server/daemon.h"
#include "server/version.h"

namespace callgate {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 64;

// One line on stderr for each line of `text`.
void Say(absl::string_view text) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::string full = absl::StrCat("callgated: ", line, "\n");
    std::fputs(full.c_str(), stderr);
  }
}

int Main(const std::vector<absl::string_view>& args) {
  const absl::StatusOr<CommandLine> line = ParseCommandLine(args);
  if (!line.ok()) {
    Say(line.status().message());
    return kExitUsage;
  }
  switch (line->action) {
    case CommandLine::Action::kHelp:
      std::fputs(HelpText().c_str(), stdout);
      return 0;
    case CommandLine::Action::kVersion:
      std::printf("callgated %s\n", kVersion);
      return 0;
    case CommandLine::Action::kRun:
      break;
  }

  // What gRPC logs about an address it cannot have is said better below. Who
  // wants its log sets the variable.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);

  // Blocked before any thread is made, so that all of them inherit it and the
  // signals come to sigwait alone.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Errors of a write, not our death: guests write, too.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);

  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(line->config);
  if (!daemon.ok()) {
    Say(daemon.status().message());
    return kExitFailure;
  }
  std::printf("callgated ready: listen=%s metrics=%s\n",
              (*daemon)->listen_address().c_str(),
              (*daemon)->metrics_address().c_str());
  std::fflush(stdout);

  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    if (signal == SIGHUP) {
      const absl::Status status = (*daemon)->ReloadPolicies();
      Say(status.ok() ? "the policy directory was read again"
                      : status.message());
      continue;
    }
    Say("draining");
    (*daemon)->Drain();
    return 0;
  }
}

}  // namespace
}  // namespace callgate

int main(int argc, char** argv) {
  return callgate::Main(std::vector<absl::string_view>(argv + 1, argv + argc));
}
