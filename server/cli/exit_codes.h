// What the client's exit codes mean.
//
// A guest's own exit code is passed through, so it can collide with any of
// these; the line on stderr and --json tell them apart.

#ifndef CALLGATE_SERVER_CLI_EXIT_CODES_H_
#define CALLGATE_SERVER_CLI_EXIT_CODES_H_

namespace callgate::cli {

enum ExitCode : int {
  kExitOk = 0,
  // The daemon or the machine could not do it, and stderr says what and why; or
  // tests of a policy failed.
  kExitFailure = 1,
  // The command line is wrong (EX_USAGE of sysexits.h, as the others below).
  kExitUsage = 64,
  // The module was refused: admission, validation, a missing import, no
  // `_start`, quarantine.
  kExitModuleRefused = 65,
  // A file named on the command line cannot be read.
  kExitNoInput = 66,
  // No daemon answers.
  kExitNoDaemon = 69,
  // The policy was refused, or no policy covers the module.
  kExitPolicyRefused = 78,
  // Ctrl-C and SIGTERM, as a shell reports a process that such a signal ended.
  kExitInterrupted = 130,
  kExitTerminated = 143,
  // The guest trapped, or a policy or a budget ended it (as a shell reports
  // SIGABRT).
  kExitTrapped = 134,
  // Whoever read our output went away (as a shell reports SIGPIPE).
  kExitOutputClosed = 141,
};

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_EXIT_CODES_H_
