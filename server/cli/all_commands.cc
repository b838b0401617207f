#include <utility>

#include "server/cli/bench_options.h"
#include "server/cli/commands.h"
#include "server/cli/run_options.h"

namespace callgate::cli {
namespace {

constexpr Flag kJsonFlag = {"json", "", "prints JSON, one object on one line"};

std::vector<Flag> WithStoreFlags(std::vector<Flag> before,
                                 std::vector<Flag> after) {
  for (Flag& flag : StoreFlags()) before.push_back(std::move(flag));
  for (Flag& flag : after) before.push_back(std::move(flag));
  return before;
}

constexpr absl::string_view kPushDetails =
    "Prints the module's digest. A module that the daemon has already is not\n"
    "sent again. Labels are what policies select modules by.";

constexpr absl::string_view kVerifyDetails =
    "Scans and validates the module as the daemon would, in this process: no\n"
    "daemon is needed. Prints what it imports and exports. A module that "
    "would\n"
    "be refused ends with exit code 65 and the limit or rule it breaks.";

constexpr absl::string_view kCheckDetails =
    "Prints what would keep a daemon from putting them in force, tests of "
    "their\n"
    "own that fail included, as FILE:LINE:COLUMN: MESSAGE, and ends with exit\n"
    "code 78 if there is any. No daemon is needed. Files given together may\n"
    "include one another.";

constexpr absl::string_view kTestDetails =
    "Runs the files' own tests as the daemon does before it puts a policy in\n"
    "force, and prints what the tests had each rule and its condition do. No\n"
    "daemon is needed. Files given together may include one another. Ends "
    "with\n"
    "exit code 1 if a test fails, and 78 if a file or a test is wrong.";

constexpr absl::string_view kCoverageDetails =
    "Tags such as T1041 and T1552.001 name techniques of MITRE ATT&CK, and\n"
    "mitre.exfiltration a tactic. Rules that say neither come last.";

constexpr absl::string_view kReplayDetails =
    "Prints each verdict that would have been another, and how many there "
    "are.\n"
    "Every Store is judged by the policies that judged it, with FILE in the\n"
    "place of the one of its name; Stores that FILE is not for are left out.\n"
    "\n"
    "A change is uncertain if it may be due to what a trace does not know: "
    "bytes\n"
    "that are redacted, how a call would have ended that never ran, what "
    "rules\n"
    "remembered of a Store from before the trace, what is usual of its "
    "module.\n"
    "Budgets of fuel, time and bytes are not replayed, and of the guest's own\n"
    "functions those that a policy looked at then. Nothing is put in force.";

constexpr absl::string_view kExplainDetails =
    "Events name their decision. Shown are the facts of the call, every rule\n"
    "that was true, every condition that was asked, and the exceptions that "
    "let\n"
    "it go. The daemon keeps the newest decisions that were more than an "
    "allow.";

constexpr absl::string_view kRecordDetails =
    "The daemon must have been started with --trace-mib. A trace has every "
    "host\n"
    "call of every Store, with what its arguments point to unless a policy or\n"
    "the function's author redacts it, growths of memories and tables, and "
    "the\n"
    "calls of the guest's own functions that policies look at, with their\n"
    "parameters. Prints the trace's name; it ends by itself, or with\n"
    "`callgate trace stop`.";

constexpr absl::string_view kVersionDetails =
    "VERSION is a number of `policy history`, or at least seven digits of the\n"
    "version's digest. Without one it is what is in force.";

constexpr Flag kForceFlag = {"force", "", "also from Stores that it judges"};

constexpr absl::string_view kOutDetails =
    "Refused for a policy that others include, and for one that judges Stores "
    "that\n"
    "live, with their names. With --force those Stores go on under the "
    "policies that\n"
    "are left, or take no calls any more. A policy from --policy-dir goes with "
    "its file.";

constexpr absl::string_view kModeDetails =
    "Under audit what the policy stops is told, and happens. The lowest counts "
    "of what\n"
    "the policy's text says, the option that it was loaded with (policy apply "
    "--mode,\n"
    "callgated --policy-mode), this, and what the daemon enforces against a "
    "tenant\n"
    "(callgated --audit-tenant). It holds, over restarts too, until it is set "
    "anew or\n"
    "the policy goes.";

constexpr absl::string_view kRollbackDetails =
    "VERSION is a number of `policy history`, or at least seven digits of the\n"
    "version's digest; without one it is the newest with another text than "
    "what is\n"
    "in force. The text is compiled with what it includes as that is now. A "
    "policy\n"
    "from --policy-dir is held at the earlier version until its file changes.";

constexpr absl::string_view kDiffDetails =
    "A and B are files, or policies of the daemon: NAME, or NAME@VERSION as "
    "in\n"
    "`policy show`. A file wins over a name. Prints a line for each rule or "
    "field\n"
    "that came (+), went (-) or says something else (~). Ends with exit code "
    "1 if\n"
    "there is one.";

constexpr absl::string_view kProfileDetails =
    "PROFILE is a module's digest, and where the module has several profiles\n"
    "DIGEST.SHAPE, as `callgate profile ls` shows them.";

constexpr absl::string_view kApproveDetails =
    "From then on Stores are judged by it, and it learns nothing any more.\n"
    "PROFILE is a module's digest, and where the module has several profiles\n"
    "DIGEST.SHAPE, as `callgate profile ls` shows them.";

constexpr absl::string_view kLearnDetails =
    "The policy allows the imports that the profile's runs called, with any\n"
    "arguments, denies all others, and has tests that say so. PROFILE is a\n"
    "module's digest, or DIGEST.SHAPE.";

constexpr absl::string_view kRunDetails =
    "Runs the module's _start with stdin, stdout, stderr and the exit code of\n"
    "the guest. FILE is pushed to the daemon unless it has it already. Each\n"
    "verdict of the policy and a trap are reported on stderr.\n"
    "\n"
    "--invoke calls another export instead and prints its results, one a "
    "line;\n"
    "what follows -- is then its arguments: i32:7, i64:-1, f64:0.5,\n"
    "f64bits:0x3fe0000000000000, v128:0x…, externref:null, or plain 7 and "
    "0.5.\n"
    "\n"
    "HOST in --dir is a directory of the daemon's machine, and must lie under\n"
    "one of its --allow-dir paths.\n"
    "\n"
    "--local runs in this process, without a daemon and with any HOST. "
    "Without\n"
    "--policy it allows WASI and the stubs and denies every other import.\n"
    "\n"
    "--probe takes a name of the name section or of an export, with * for any\n"
    "characters, or #7 for an index. Own time leaves out probed callees.";

constexpr absl::string_view kBenchDetails =
    "Compiles the module, makes ten instances, each in a Store of its own, "
    "and\n"
    "calls EXPORT in the last of them: once to warm up, then --repeat times.\n"
    "Everything happens in this process. Without --invoke nothing is called.\n"
    "--arg takes what run --invoke takes behind --: i32:7, f64:0.5, plain 7.\n"
    "WASI is there as in run --local, and what the guest writes is dropped.\n"
    "\n"
    "  compile      from the module's bytes to a module that can run, by a\n"
    "               compiler process that is up already\n"
    "  load         the same where the machine code is in the cache, in "
    "memory\n"
    "  instantiate  from no Store to an instance: the least of ten\n"
    "  call         one call, the least and the median of --repeat\n"
    "\n"
    "Times are of the steady clock. A call that is shorter than 0.1 ms is "
    "timed\n"
    "together with others: a batch of the smallest power of two that lasts\n"
    "0.1 ms counts as one repeat, and its time is divided by its calls.\n"
    "\n"
    "--fuel off gives calls no limit of fuel; an engine that compiles then\n"
    "leaves the counting out, and the reference engine counts all the same.\n"
    "--hook none leaves the Store's call hook empty; null sets one that lets\n"
    "everything proceed.\n"
    "--hook policy asks the policy engine, under --policy and its budgets.";

constexpr absl::string_view kApplyDetails =
    "Prints its name and version. Stores that live judge their next host call "
    "by\n"
    "it, and run their next call under its budgets.\n"
    "\n"
    "With --replay or --replay-since the Stores of the trace that the change "
    "is\n"
    "about are judged anew first, and the policy is not applied, with exit "
    "code "
    "78,\n"
    "if more than --max-changed verdicts differ from those that were given,\n"
    "uncertain ones (`policy replay`) included, if nothing was recorded that "
    "it "
    "is\n"
    "about, or if that is more than 2000000 events or takes longer than 10\n"
    "seconds.";

constexpr absl::string_view kStoreCreateDetails =
    "Makes a Store that lives until it is killed or idle for too long, and\n"
    "prints its id. What follows -- is the guest's arguments.";

constexpr absl::string_view kStoreCallDetails =
    "Prints the results, one a line. Arguments are i32:7, i64:-1, f64:0.5,\n"
    "f64bits:0x3fe0000000000000, v128:0x…, externref:null, or plain 7 and 0.5.";

constexpr absl::string_view kEventsDetails =
    "Prints the events that the daemon still keeps, and with --follow those "
    "to\n"
    "come. Events that were lost show as a gap with their number.";

constexpr absl::string_view kSeverities =
    "debug|info|notice|warning|error|critical";

CommandTable MakeTable() {
  constexpr size_t kNoLimit = Command::kNoLimit;
  CommandTable table;
  table.groups = {
      {"module", "Modules: WebAssembly binaries kept by digest"},
      {"policy", "Policies: what guests may do"},
      {"profile", "Profiles: what is usual of a module"},
      {"trace", "Traces: what guests did, to try policies on"},
      {"store", "Stores: isolated worlds that take many calls"},
  };
  table.commands = {
      {"run",
       "Runs a module under a policy",
       "FILE|DIGEST -- ARGS…",
       1,
       1,
       true,
       Reach::kDaemon,
       WithStoreFlags(
           {{"local", "", "runs in this process, without a daemon"},
            {"invoke", "EXPORT", "calls EXPORT instead of _start"},
            {"probe", "PATTERN",
             "with --local: counts and times the calls of these functions",
             true},
            {"probe-trace", "",
             "shows each of these calls, 1000 lines at most"}},
           {{"json", "",
             "prints one JSON object that holds the outcome and what the guest "
             "wrote"}}),
       kRunDetails,
       {"callgate run app.wasm --policy strict.yaml --dir ./in::/data -- "
        "--verbose",
        "callgate run --local fib.wasm --invoke fib -- i32:10"},
       Run},
      {"module push",
       "Sends a module to the daemon",
       "FILE",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"label", "k=v", "puts a label on the module", true}},
       kPushDetails,
       {"callgate module push app.wasm --label class=connector"},
       ModulePush},
      {"module ls",
       "Lists the daemon's modules",
       "",
       0,
       0,
       false,
       Reach::kDaemon,
       {kJsonFlag},
       "",
       {"callgate module ls"},
       ModuleLs},
      {"module show",
       "Shows one module: imports, exports, what admission measured",
       "DIGEST",
       1,
       1,
       false,
       Reach::kDaemon,
       {kJsonFlag},
       "",
       {"callgate module show $(callgate module push app.wasm)"},
       ModuleShow},
      {"module rm",
       "Deletes a module",
       "DIGEST",
       1,
       1,
       false,
       Reach::kDaemon,
       {},
       "Refused while a Store of the module lives. Its quarantine stays.",
       {"callgate module rm $(callgate module push app.wasm)"},
       ModuleRm},
      {"module verify",
       "Says whether a module would be admitted",
       "FILE",
       1,
       1,
       false,
       Reach::kLocal,
       {kJsonFlag},
       kVerifyDetails,
       {"callgate module verify app.wasm"},
       ModuleVerify},

      {"policy check",
       "Checks policy files",
       "FILE…",
       1,
       kNoLimit,
       false,
       Reach::kLocal,
       {},
       kCheckDetails,
       {"callgate policy check base.yaml strict.yaml"},
       PolicyCheck},
      {"policy test",
       "Runs the tests in policy files",
       "FILE…",
       1,
       kNoLimit,
       false,
       Reach::kLocal,
       {{"junit", "FILE", "writes the results as JUnit's XML, too"}},
       kTestDetails,
       {"callgate policy test strict.yaml --junit results.xml"},
       PolicyTest},
      {"policy coverage",
       "Shows which ATT&CK techniques rules look for",
       "FILE…",
       1,
       kNoLimit,
       false,
       Reach::kLocal,
       {kJsonFlag},
       kCoverageDetails,
       {"callgate policy coverage strict.yaml"},
       PolicyCoverage},
      {"policy schema",
       "Prints the policy format as a JSON Schema",
       "",
       0,
       0,
       false,
       Reach::kLocal,
       {},
       "Editors complete and check policy files by it.",
       {"callgate policy schema > callgate.schema.json"},
       PolicySchema},
      {"policy replay",
       "Shows what a policy would have said of a trace",
       "FILE",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"trace", "NAME", "the trace, as `callgate trace ls` has it"},
        {"since", "TIME",
         "instead: all that is recorded of so long, such as 1h"},
        {"alone", "", "by FILE alone, for every Store of the trace"},
        kJsonFlag},
       kReplayDetails,
       {"callgate policy replay strict.yaml --since 1h"},
       PolicyReplay},
      {"policy explain",
       "Shows why a decision was what it was",
       "DECISION_ID",
       1,
       1,
       false,
       Reach::kDaemon,
       {kJsonFlag},
       kExplainDetails,
       {"callgate policy explain 4f2a81-17"},
       PolicyExplain},

      {"trace record",
       "Begins to record what guests do",
       "",
       0,
       0,
       false,
       Reach::kDaemon,
       {{"for", "TIME", "ends after so long [10m]"}},
       kRecordDetails,
       {"callgate trace record --for 1h"},
       TraceRecord},
      {"trace stop",
       "Ends the trace that is being recorded",
       "",
       0,
       0,
       false,
       Reach::kDaemon,
       {},
       "Prints its name.",
       {"callgate trace stop"},
       TraceStop},
      {"trace ls",
       "Lists the traces",
       "",
       0,
       0,
       false,
       Reach::kDaemon,
       {kJsonFlag},
       "",
       {"callgate trace ls"},
       TraceLs},
      {"trace rm",
       "Removes traces",
       "NAME…",
       1,
       kNoLimit,
       false,
       Reach::kDaemon,
       {},
       "One that is being recorded ends.",
       {"callgate trace rm 20270131T120000-1"},
       TraceRm},
      {"policy apply",
       "Puts a policy in force",
       "FILE",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"comment", "TEXT", "what for, for the policy's history"},
        {"mode", "audit|enforce",
         "audit: nothing of it is enforced, until it is applied again", false,
         0, "audit|enforce"},
        {"replay", "NAME", "only if a replay of this trace changes no verdict"},
        {"replay-since", "TIME",
         "instead: of all that is recorded of so long, such as 1h"},
        {"max-changed", "N", "with a replay: so many may change [0]"}},
       kApplyDetails,
       {"callgate policy apply strict.yaml --comment CHG-4411",
        "callgate policy apply strict.yaml --replay-since 1h"},
       PolicyApply},
      {"policy ls",
       "Lists the policies in force, and those that are kept and are not",
       "",
       0,
       0,
       false,
       Reach::kDaemon,
       {kJsonFlag},
       "",
       {"callgate policy ls"},
       PolicyLs},
      {"policy show",
       "Prints the text of a policy",
       "NAME|NAME@VERSION",
       1,
       1,
       false,
       Reach::kDaemon,
       {},
       kVersionDetails,
       {"callgate policy show web@3"},
       PolicyShow},
      {"policy history",
       "Lists the versions that a policy has and had",
       "NAME",
       1,
       1,
       false,
       Reach::kDaemon,
       {kJsonFlag},
       "Newest first; an asterisk marks the one in force.",
       {"callgate policy history web"},
       PolicyHistory},
      {"policy rollback",
       "Puts an earlier version of a policy in force again",
       "NAME [VERSION]",
       1,
       2,
       false,
       Reach::kDaemon,
       {{"comment", "TEXT", "what for, for the policy's history"}},
       kRollbackDetails,
       {"callgate policy rollback web", "callgate policy rollback web 3"},
       PolicyRollback},
      {"policy rm",
       "Takes an applied policy out of force for good",
       "NAME",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"comment", "TEXT", "what for"}, kForceFlag},
       kOutDetails,
       {"callgate policy rm web"},
       PolicyRm},
      {"policy deactivate",
       "Takes an applied policy out of force until it is activated",
       "NAME",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"comment", "TEXT", "what for"}, kForceFlag},
       kOutDetails,
       {"callgate policy deactivate web --comment CHG-4411"},
       PolicyDeactivate},
      {"policy activate",
       "Puts a policy that was deactivated in force again",
       "NAME",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"comment", "TEXT", "what for"}},
       "It must still compile, and pass its own tests.",
       {"callgate policy activate web"},
       PolicyActivate},
      {"policy mode",
       "Sets how much of a policy in force is enforced",
       "NAME audit|enforce",
       2,
       2,
       false,
       Reach::kDaemon,
       {{"comment", "TEXT", "what for"}},
       kModeDetails,
       {"callgate policy mode web audit --comment CHG-4411"},
       PolicyMode},
      {"policy diff",
       "Says what changed from one policy to another",
       "A B",
       2,
       2,
       false,
       Reach::kDaemon,
       {kJsonFlag},
       kDiffDetails,
       {"callgate policy diff web@3 web.yaml"},
       PolicyDiff},
      {"policy reload",
       "Has the daemon read its --policy-dir again",
       "",
       0,
       0,
       false,
       Reach::kDaemon,
       {},
       "It does so by itself whenever a file there changes. Prints what is "
       "wrong, and\n"
       "ends with exit code 78 if something is.",
       {"callgate policy reload"},
       PolicyReload},
      {"policy learn",
       "Writes the policy that a module was seen to need",
       "PROFILE",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"output", "FILE", "where to; stdout unless given", false, 'o'},
        {"name", "NAME", "what the policy is called"}},
       kLearnDetails,
       {"callgate policy learn $DIGEST -o app.yaml"},
       PolicyLearn},

      {"profile ls",
       "Lists the profiles",
       "",
       0,
       0,
       false,
       Reach::kDaemon,
       {kJsonFlag},
       "",
       {"callgate profile ls"},
       ProfileLs},
      {"profile show",
       "Shows a profile and the runs that it learned from",
       "PROFILE",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"ngrams", "", "and every n-gram, at most 1000"}, kJsonFlag},
       kProfileDetails,
       {"callgate profile show $DIGEST --ngrams"},
       ProfileShow},
      {"profile approve",
       "Says that what a profile learned is right",
       "PROFILE",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"version", "V", "only if the profile is of this version"}},
       kApproveDetails,
       {"callgate profile approve $DIGEST"},
       ProfileApprove},
      {"profile freeze",
       "Lets nothing be added to an approved profile any more",
       "PROFILE",
       1,
       1,
       false,
       Reach::kDaemon,
       {},
       kProfileDetails,
       {"callgate profile freeze $DIGEST"},
       ProfileFreeze},
      {"profile diff",
       "Shows what one profile has and another has not",
       "PROFILE PROFILE",
       2,
       2,
       false,
       Reach::kDaemon,
       {},
       "Both must be of one shape. Lines with - are of the first alone, with + "
       "of\nthe second.",
       {"callgate profile diff $DIGEST $OTHER"},
       ProfileDiff},
      {"profile merge",
       "Adds another profile's runs to a profile",
       "PROFILE FROM",
       2,
       2,
       false,
       Reach::kDaemon,
       {},
       "Both must be of one shape; FROM stays as it is. A profile that was "
       "approved\nhas to be approved again.",
       {"callgate profile merge $DIGEST $OTHER"},
       ProfileMerge},
      {"profile rm-run",
       "Takes what one run taught out of a profile",
       "PROFILE RUN",
       2,
       2,
       false,
       Reach::kDaemon,
       {},
       "RUN is a number of `callgate profile show`.",
       {"callgate profile rm-run $DIGEST 3"},
       ProfileRmRun},
      {"profile rm",
       "Deletes a profile",
       "PROFILE",
       1,
       1,
       false,
       Reach::kDaemon,
       {},
       "The module is learned anew, if a policy says so.",
       {"callgate profile rm $DIGEST"},
       ProfileRm},

      {"store create",
       "Makes a Store",
       "FILE|DIGEST -- ARGS…",
       1,
       1,
       true,
       Reach::kDaemon,
       WithStoreFlags({}, {}),
       kStoreCreateDetails,
       {"callgate store create app.wasm --policy strict"},
       StoreCreate},
      {"store call",
       "Calls an export of a Store",
       "ID EXPORT ARGS…",
       2,
       kNoLimit,
       true,
       Reach::kDaemon,
       {{"fuel", "N", "ends a call that executes more than N instructions"},
        {"timeout", "D", "ends a call that takes longer: 500ms, 10s, 2m"},
        kJsonFlag},
       kStoreCallDetails,
       {"callgate store call $ID add i32:2 i32:40"},
       StoreCall},
      {"store read",
       "Reads a Store's memory and prints it in hexadecimal",
       "ID ADDR LEN",
       3,
       3,
       false,
       Reach::kDaemon,
       {},
       "LEN is at most 1048576.",
       {"callgate store read $ID 1024 32"},
       StoreRead},
      {"store write",
       "Writes a Store's memory",
       "ID ADDR HEX",
       3,
       3,
       false,
       Reach::kDaemon,
       {},
       "HEX is two digits a byte, or - to read them from stdin; at most "
       "1048576\n"
       "bytes. All of them are written or none.",
       {"callgate store write $ID 0x400 68656c6c6f"},
       StoreWrite},
      {"store ls",
       "Lists the Stores",
       "",
       0,
       0,
       false,
       Reach::kDaemon,
       {kJsonFlag},
       "",
       {"callgate store ls"},
       StoreLs},
      {"store kill",
       "Ends a Store, whatever runs in it",
       "ID",
       1,
       1,
       false,
       Reach::kDaemon,
       {{"reason", "TEXT", "why, for events and for `store ls`"}},
       "",
       {"callgate store kill $ID"},
       StoreKill},

      {"events",
       "Shows what happened",
       "",
       0,
       0,
       false,
       Reach::kDaemon,
       {{"follow", "", "goes on with events as they happen"},
        {"output", "text|json", "one line of text or of JSON for each event",
         false, 'o', "text|json"},
        {"json", "", "the same as --output json"},
        {"store", "ID", "only events of this Store"},
        {"min-severity", "LEVEL",
         "only events from debug, info, notice, warning, error or critical on",
         false, 0, kSeverities}},
       kEventsDetails,
       {"callgate events --follow -o json"},
       Events},
      {"metrics",
       "Prints the daemon's metrics page",
       "",
       0,
       0,
       false,
       Reach::kLocal,
       {{"metrics", "ADDR",
         "the page's address [CALLGATE_METRICS, or 127.0.0.1:9464]"}},
       "",
       {"callgate metrics"},
       Metrics},
      {"bench",
       "Measures how long a module takes",
       "FILE",
       1,
       1,
       false,
       Reach::kLocal,
       BenchFlags(),
       kBenchDetails,
       {"callgate bench fib.wasm --invoke fib --arg 30",
        "callgate bench app.wasm --invoke run --hook policy strict.yaml"},
       Bench},
  };
  return table;
}

}  // namespace

const CommandTable& AllCommands() {
  static const CommandTable* const table = new CommandTable(MakeTable());
  return *table;
}

}  // namespace callgate::cli
