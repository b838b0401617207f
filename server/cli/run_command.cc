#include <unistd.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/cli/commands.h"
#include "server/cli/connection.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/cli/interrupts.h"
#include "server/cli/local_run.h"
#include "server/cli/outcome_report.h"
#include "server/cli/quoted.h"
#include "server/cli/remote_run.h"
#include "server/cli/run_options.h"
#include "server/cli/run_request.h"
#include "server/cli/values.h"

namespace callgate::cli {
namespace {

RunResult Carry(const Arguments& arguments) {
  // Before the first thread of gRPC.
  Interrupts interrupts;
  RunRequest request;
  request.operand = arguments.operands()[0];
  request.invoke = arguments.Get("invoke");
  request.args = arguments.rest();
  request.keep_output = arguments.Has("json");
  OrFailure<RunOptions> options = ParseRunOptions(arguments);
  if (!options.ok()) return RunResult::Failed(options.failure());
  request.options = *std::move(options);

  for (const std::string& text : arguments.All("probe")) {
    if (const absl::Status added = request.probes.Add(text); !added.ok()) {
      return RunResult::Failed(WrongUsage(
          absl::StrCat("--probe ", Quoted(text), ": ", added.message())));
    }
  }
  request.probe_trace = arguments.Has("probe-trace");
  if (request.probe_trace && request.probes.empty()) {
    return RunResult::Failed(
        WrongUsage("--probe-trace shows calls of the functions that --probe "
                   "selects; give at least one"));
  }
  if (!request.probes.empty() && !arguments.Has("local")) {
    return RunResult::Failed(
        WrongUsage("--probe looks into a guest of this process; add --local"));
  }

  if (arguments.Has("local")) {
    if (arguments.Has("server")) {
      return RunResult::Failed(
          WrongUsage("--local runs without a daemon; leave out --server"));
    }
    return RunLocally(request, interrupts);
  }
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return RunResult::Failed(connection.failure());
  return RunOnDaemon(*connection, request, interrupts);
}

bool HasSomethingToSay(const RunResult& result) {
  return result.failure.has_value() || !result.facts.warnings.empty() ||
         result.facts.probes.has_value() || !result.outcome->verdicts.empty() ||
         result.outcome->verdicts_omitted > 0 ||
         !EndLine(*result.outcome).empty();
}

}  // namespace

int Run(const Arguments& arguments) {
  const RunResult result = Carry(arguments);
  const bool json = arguments.Has("json");
  // Ours begin on lines of their own.
  if (result.stderr_mid_line && HasSomethingToSay(result)) {
    WriteAll(STDERR_FILENO, "\n").IgnoreError();
  }
  for (const std::string& warning : result.facts.warnings) {
    Say(absl::StrCat("warning: ", warning));
  }
  if (result.failure.has_value()) {
    Report(*result.failure);
    if (result.facts.probes.has_value()) SayProbes(*result.facts.probes);
    if (json) Print(FailureJson(*result.failure, result.facts));
    return result.failure->exit_code;
  }
  const Outcome& outcome = *result.outcome;
  SayOutcome(outcome);
  if (result.facts.probes.has_value()) SayProbes(*result.facts.probes);
  int printed = kExitOk;
  if (json) {
    printed = Print(OutcomeJson(outcome, result.facts));
  } else if (arguments.Has("invoke")) {
    std::string lines;
    for (const Value& value : outcome.results) {
      absl::StrAppend(&lines, PlainText(value), "\n");
    }
    printed = Print(lines);
  }
  return printed == kExitOk ? outcome.exit_code : printed;
}

}  // namespace callgate::cli
