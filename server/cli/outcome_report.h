// How a run ended, told to whoever started it: one line on stderr for each
// verdict and for the trap, or one JSON object.
//
// Pure functions apart from what they write; one thread at a time.

#ifndef CALLGATE_SERVER_CLI_OUTCOME_REPORT_H_
#define CALLGATE_SERVER_CLI_OUTCOME_REPORT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/cli/call_profile.h"
#include "server/cli/failure.h"
#include "server/outcome.h"

namespace callgate::cli {

// What is known of a run beside how it ended.
struct RunFacts {
  // "sha256:…"; empty if it never got so far, like the other two.
  std::string module_digest;
  std::string store;
  std::vector<std::string> policies;  // "name@version"
  std::vector<std::string> warnings;
  std::optional<ProbeReport> probes;  // where some were wanted
};

// "denied wasi_snapshot_preview1.path_open by web/imports[3] (errno 76)".
std::string VerdictLine(const VerdictCount& verdict);

// "trap: integer divide by zero", "ended by policy: …"; empty for a run that
// returned or exited.
std::string EndLine(const Outcome& outcome);

// "#0 func 7 (parse) at 0x1c2", one for each frame.
std::vector<std::string> FrameLines(const Outcome& outcome);

// All of these to stderr. A guest's own exit code gets no line: that is how it
// is told apart from a code of ours.
void SayOutcome(const Outcome& outcome);

// The trace, and one line for each probed function, to stderr.
void SayProbes(const ProbeReport& probes);

// One JSON object on one line, with a line feed. `stdout_bytes` and
// `stderr_bytes` are what the guest wrote.
std::string OutcomeJson(const Outcome& outcome, const RunFacts& facts);
// The same for a run that did not come about.
std::string FailureJson(const Failure& failure, const RunFacts& facts);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_OUTCOME_REPORT_H_
