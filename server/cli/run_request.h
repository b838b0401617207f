// One run of a guest, whatever carries it out: the daemon (remote_run.h) or
// this process (local_run.h).

#ifndef CALLGATE_SERVER_CLI_RUN_REQUEST_H_
#define CALLGATE_SERVER_CLI_RUN_REQUEST_H_

#include <optional>
#include <string>
#include <vector>

#include "runtime/function_filter.h"
#include "server/cli/failure.h"
#include "server/cli/guest_output.h"
#include "server/cli/interrupts.h"
#include "server/cli/outcome_report.h"
#include "server/cli/run_options.h"
#include "server/outcome.h"

namespace callgate::cli {

struct RunRequest {
  std::string operand;  // FILE or DIGEST
  RunOptions options;
  // The export to call; absent for a command's _start.
  std::optional<std::string> invoke;
  // The guest's arguments, or the export's.
  std::vector<std::string> args;
  // The guest's functions whose calls are counted and timed, and whether each
  // call becomes a line. Of local runs alone.
  FunctionFilter probes;
  bool probe_trace = false;
  // Keep the guest's output instead of passing it on.
  bool keep_output = false;
};

struct RunResult {
  RunFacts facts;
  // Exactly one of the two is set.
  std::optional<Outcome> outcome;
  std::optional<Failure> failure;
  // The guest left a line of stderr unfinished.
  bool stderr_mid_line = false;

  static RunResult Failed(Failure failure, RunFacts facts = {});
};

// What ended the run from this side: a signal, or an output that nobody reads.
// Nullopt if the run ended by itself.
std::optional<Failure> EndedFromHere(const Interrupts& interrupts,
                                     const GuestOutput& output);

// A usage failure that names the functions there are.
Failure NoSuchExport(const std::string& wanted,
                     const std::vector<std::string>& functions);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_RUN_REQUEST_H_
