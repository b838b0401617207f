#include "server/cli/local_run.h"

#include <unistd.h>

#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/cli/call_profile.h"
#include "server/cli/console.h"
#include "server/cli/local_engine.h"
#include "server/cli/local_guest.h"
#include "server/cli/module_upload.h"
#include "server/cli/quoted.h"
#include "server/host_module.h"
#include "server/module_admission.h"
#include "server/session.h"
#include "server/storage/digest.h"

namespace callgate::cli {
namespace {

using Policies = std::vector<std::shared_ptr<const policy::Policy>>;

// The policy of the run. Its applies_to is not asked: whoever runs a module in
// a process of their own chooses the policy too.
OrFailure<std::shared_ptr<const policy::Policy>> PolicyOf(
    const RunOptions& options) {
  if (options.policy_name.has_value()) {
    return WrongUsage(absl::StrCat(
        "--policy ", Quoted(*options.policy_name),
        ": --local knows no policies by name; give a file, with a suffix such "
        "as .yaml or with a slash in its path"));
  }
  const bool is_file = options.policy_file.has_value();
  if (!is_file) {
    Say("no --policy: WASI and the stubs are allowed, every other import is "
        "denied");
  }
  return CompilePolicyOf(
      is_file ? *options.policy_file
              : PolicyText{"the built-in policy",
                           PermissivePolicyYaml(StubsOf(options.stubs))});
}

// The call of --invoke, or of _start.
OrFailure<CallRequest> CallOf(const RunRequest& request, const Module& module) {
  CallRequest call;
  if (!request.invoke.has_value()) {
    call.export_name = "_start";
    return call;
  }
  OrFailure<std::vector<Value>> values =
      ArgumentsOf(module, *request.invoke, request.args);
  if (!values.ok()) return values.failure();
  call.export_name = *request.invoke;
  call.args = *std::move(values);
  return call;
}

SessionConfig ConfigOf(const RunRequest& request, RunFacts& facts,
                       std::shared_ptr<const Module> module, Policies policies,
                       GuestOutput& output, CallProfile& profile) {
  SessionConfig config;
  config.store_id = "local";
  config.module_digest = facts.module_digest;
  config.module_name = ProgramName(request.operand);
  config.module = std::move(module);
  config.policies = std::move(policies);
  config.program_name = ProgramName(request.operand);
  if (!request.invoke.has_value()) config.args = request.args;
  config.env = request.options.env;
  for (const DirectoryOption& dir : request.options.dirs) {
    GuestDirectory directory;
    directory.host_path = dir.host_path;
    directory.guest_path = dir.guest_path;
    config.dirs.push_back(std::move(directory));
  }
  config.stubs = StubsOf(request.options.stubs);
  config.fuel_per_call = request.options.fuel;
  config.wall_per_call = request.options.timeout;
  config.stdin_fd = STDIN_FILENO;
  config.terminal = {isatty(STDIN_FILENO) == 1,
                     !request.keep_output && isatty(STDOUT_FILENO) == 1,
                     !request.keep_output && isatty(STDERR_FILENO) == 1};
  config.output = &output;
  if (!request.probes.empty()) {
    config.probes = request.probes;
    config.probe_watcher = &profile;
  }
  return config;
}

absl::Time SteadyNow() {
  return absl::UnixEpoch() +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

RunResult RunLocally(const RunRequest& request, Interrupts& interrupts) {
  RunFacts facts;
  if (IsDigest(request.operand)) {
    return RunResult::Failed(WrongUsage(absl::StrCat(
        Quoted(request.operand),
        " names a module that a daemon keeps; --local needs a file")));
  }
  OrFailure<std::string> bytes = ReadModuleFile(request.operand);
  if (!bytes.ok()) return RunResult::Failed(bytes.failure());
  facts.module_digest = storage::DigestOf(*bytes).ToString();

  OrFailure<std::shared_ptr<const policy::Policy>> policy =
      PolicyOf(request.options);
  if (!policy.ok()) return RunResult::Failed(policy.failure(), facts);
  const Policies policies = {*policy};
  OrFailure<std::unique_ptr<HostedEngine>> hosted = StartLocalEngine();
  if (!hosted.ok()) return RunResult::Failed(hosted.failure(), facts);
  const Engine* const engine = &(*hosted)->engine();
  absl::StatusOr<std::shared_ptr<const Module>> module =
      CompileModule(*engine, *bytes, LimitsUnder(*engine, policies));
  if (!module.ok()) {
    return RunResult::Failed(FailureOf(module.status()), facts);
  }
  OrFailure<CallRequest> call = CallOf(request, **module);
  if (!call.ok()) return RunResult::Failed(call.failure(), facts);

  // Set before anything runs, so that the two callbacks below find it.
  Session* running = nullptr;
  GuestOutput output(request.keep_output,
                     [&] { running->Kill("its output is closed"); });
  CallProfile profile(SteadyNow, request.probe_trace);
  const HostModules no_host_modules;
  absl::StatusOr<std::unique_ptr<Session>> session = Session::Create(
      *engine, no_host_modules,
      ConfigOf(request, facts, *std::move(module), policies, output, profile));
  if (!session.ok()) {
    return RunResult::Failed(FailureOf(session.status()), facts);
  }
  running = session->get();
  facts.policies = running->policy_names();
  facts.warnings = running->warnings();

  interrupts.OnInterrupt([&] { running->Kill("interrupted"); });
  absl::StatusOr<Outcome> outcome = running->Instantiate();
  if (outcome.ok() && outcome->kind == OutcomeKind::kReturned) {
    outcome = running->Call(*call);
  }
  interrupts.OnInterrupt(nullptr);
  if (!request.probes.empty()) facts.probes = profile.Report();

  RunResult result;
  result.facts = std::move(facts);
  result.stderr_mid_line = output.stderr_mid_line();
  result.failure = EndedFromHere(interrupts, output);
  if (result.failure.has_value()) return result;
  if (!outcome.ok()) {
    result.failure = FailureOf(outcome.status());
    return result;
  }
  result.outcome = *std::move(outcome);
  output.MoveInto(*result.outcome);
  return result;
}

}  // namespace callgate::cli
