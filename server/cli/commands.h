// What each of the client's commands does. One file for each group; what they
// take is in all_commands.cc.
//
// Each gets arguments that fit its row of the table, and returns the process's
// exit code.

#ifndef CALLGATE_SERVER_CLI_COMMANDS_H_
#define CALLGATE_SERVER_CLI_COMMANDS_H_

#include "server/cli/arguments.h"
#include "server/cli/command.h"

namespace callgate::cli {

// module_command.cc
int ModulePush(const Arguments& arguments);
int ModuleLs(const Arguments& arguments);
int ModuleShow(const Arguments& arguments);
int ModuleRm(const Arguments& arguments);
// module_verify.cc
int ModuleVerify(const Arguments& arguments);

// policy_command.cc
int PolicyCheck(const Arguments& arguments);
int PolicyApply(const Arguments& arguments);
int PolicyLs(const Arguments& arguments);
// policy_trial_command.cc
int PolicyTest(const Arguments& arguments);
int PolicySchema(const Arguments& arguments);
int PolicyCoverage(const Arguments& arguments);
// trace_command.cc
int TraceRecord(const Arguments& arguments);
int TraceStop(const Arguments& arguments);
int TraceLs(const Arguments& arguments);
int TraceRm(const Arguments& arguments);
int PolicyReplay(const Arguments& arguments);
int PolicyExplain(const Arguments& arguments);
// policy_history.cc
int PolicyShow(const Arguments& arguments);
int PolicyHistory(const Arguments& arguments);
int PolicyRollback(const Arguments& arguments);
int PolicyReload(const Arguments& arguments);
// policy_switches.cc
int PolicyRm(const Arguments& arguments);
int PolicyActivate(const Arguments& arguments);
int PolicyDeactivate(const Arguments& arguments);
int PolicyMode(const Arguments& arguments);
int PolicyDiff(const Arguments& arguments);

// profile_command.cc
int PolicyLearn(const Arguments& arguments);
int ProfileLs(const Arguments& arguments);
int ProfileShow(const Arguments& arguments);
int ProfileApprove(const Arguments& arguments);
int ProfileFreeze(const Arguments& arguments);
int ProfileDiff(const Arguments& arguments);
int ProfileMerge(const Arguments& arguments);
int ProfileRmRun(const Arguments& arguments);
int ProfileRm(const Arguments& arguments);

// run_command.cc
int Run(const Arguments& arguments);

// bench_command.cc
int Bench(const Arguments& arguments);

// store_command.cc
int StoreCreate(const Arguments& arguments);
int StoreCall(const Arguments& arguments);
int StoreRead(const Arguments& arguments);
int StoreWrite(const Arguments& arguments);
int StoreLs(const Arguments& arguments);
int StoreKill(const Arguments& arguments);

// events_command.cc
int Events(const Arguments& arguments);

// metrics_command.cc
int Metrics(const Arguments& arguments);

// Every command there is, in the order of --help.
const CommandTable& AllCommands();

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_COMMANDS_H_
