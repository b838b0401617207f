#include "server/cli/run_options.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/file/policy_file.h"
#include "policy/import_name.h"
#include "server/cli/console.h"
#include "server/cli/duration_message.h"
#include "server/cli/exit_codes.h"
#include "server/cli/quoted.h"
#include "server/cli/values.h"
#include "server/services/messages.h"

namespace callgate::cli {
namespace {

// Where `path` is looked for if it is relative. It names a directory of the
// daemon's machine, whose own working directory means nothing to anyone, so
// it is the caller's that counts.
std::string Absolute(const std::string& path) {
  if (absl::StartsWith(path, "/")) return path;
  char* const here = getcwd(nullptr, 0);
  if (here == nullptr) return path;
  std::string absolute = absl::StrCat(here, "/", path);
  free(here);
  return absolute;
}

bool NamesFile(absl::string_view policy) {
  for (const absl::string_view suffix :
       {".yaml", ".yml", ".textproto", ".txtpb"}) {
    if (absl::EndsWith(policy, suffix)) return true;
  }
  return absl::StrContains(policy, '/');
}

OrFailure<DirectoryOption> ParseDirectory(const std::string& text) {
  const size_t colons = text.find("::");
  if (colons == std::string::npos || colons == 0 || colons + 2 == text.size()) {
    return WrongUsage(absl::StrCat("--dir ", Quoted(text),
                                   " has not the form HOST::GUEST, such as "
                                   "./input::/data"));
  }
  return DirectoryOption{Absolute(text.substr(0, colons)),
                         text.substr(colons + 2)};
}

OrFailure<StubOption> ParseStub(const std::string& text) {
  absl::StatusOr<policy::ImportName> import = policy::ParseImportName(text);
  if (!import.ok()) {
    return WrongUsage(
        absl::StrCat("--stub ", Quoted(text), ": ", import.status().message()));
  }
  return StubOption{std::move(import->module), std::move(import->name)};
}

}  // namespace

std::vector<Flag> StoreFlags() {
  return {
      {"policy", "NAME|FILE",
       "the policy to run under: a name the daemon knows, or a file"},
      {"dir", "HOST::GUEST",
       "lets the guest use directory HOST under the name GUEST", true},
      {"env", "K=V", "sets an environment variable of the guest", true},
      {"stub", "MODULE.NAME",
       "defines an import that does nothing and returns zeros", true},
      {"fuel", "N", "ends a call that executes more than N instructions"},
      {"timeout", "D", "ends a call that takes longer: 500ms, 10s, 2m"},
  };
}

OrFailure<std::optional<uint64_t>> ParseFuel(const Arguments& arguments) {
  const std::optional<std::string> text = arguments.Get("fuel");
  if (!text.has_value()) return std::optional<uint64_t>();
  const absl::StatusOr<uint64_t> fuel = ParseUnsigned(*text, "--fuel");
  if (!fuel.ok()) return WrongUsage(fuel.status().message());
  if (*fuel == 0) {
    return WrongUsage("--fuel 0 would run nothing; give at least 1");
  }
  return std::optional<uint64_t>(*fuel);
}

OrFailure<std::optional<absl::Duration>> ParseTimeout(
    const Arguments& arguments) {
  const std::optional<std::string> text = arguments.Get("timeout");
  if (!text.has_value()) return std::optional<absl::Duration>();
  // Far beyond any run, and far within what a Duration message may hold.
  constexpr absl::Duration kTimeoutMax = absl::Hours(24 * 365);
  absl::Duration timeout;
  if (!absl::ParseDuration(*text, &timeout) ||
      timeout <= absl::ZeroDuration() || timeout > kTimeoutMax) {
    return WrongUsage(absl::StrCat(
        "--timeout ", Quoted(*text),
        " is not a duration above zero and at most a year; write it with its "
        "unit, such as 500ms, 10s or 2m"));
  }
  return std::optional<absl::Duration>(timeout);
}

OrFailure<PolicyText> ReadPolicyFile(const std::string& path) {
  absl::StatusOr<std::string> text =
      ReadFile(path, policy::kPolicyFileBytesMax + 1);
  if (!text.ok()) return FailureOf(kExitNoInput, text.status());
  const policy::LoadResult loaded = policy::LoadPolicy(*text, path);
  if (!loaded.ok()) {
    Failure failure;
    failure.exit_code = kExitPolicyRefused;
    failure.message = absl::StrCat("policy file ", Quoted(path), " is refused");
    for (const policy::Problem& problem : loaded.problems) {
      failure.details.push_back(problem.ToString());
    }
    return failure;
  }
  return PolicyText{path, *std::move(text)};
}

OrFailure<std::vector<StubOption>> ParseStubs(const Arguments& arguments) {
  std::vector<StubOption> stubs;
  for (const std::string& text : arguments.All("stub")) {
    OrFailure<StubOption> stub = ParseStub(text);
    if (!stub.ok()) return stub.failure();
    stubs.push_back(*std::move(stub));
  }
  return stubs;
}

OrFailure<RunOptions> ParseRunOptions(const Arguments& arguments) {
  RunOptions options;
  for (const std::string& text : arguments.All("dir")) {
    OrFailure<DirectoryOption> dir = ParseDirectory(text);
    if (!dir.ok()) return dir.failure();
    options.dirs.push_back(*std::move(dir));
  }
  for (std::string& text : arguments.All("env")) {
    if (text.find('=') == std::string::npos || text[0] == '=') {
      return WrongUsage(
          absl::StrCat("--env ", Quoted(text), " has not the form KEY=VALUE"));
    }
    options.env.push_back(std::move(text));
  }
  OrFailure<std::vector<StubOption>> stubs = ParseStubs(arguments);
  if (!stubs.ok()) return stubs.failure();
  options.stubs = *std::move(stubs);
  OrFailure<std::optional<uint64_t>> fuel = ParseFuel(arguments);
  if (!fuel.ok()) return fuel.failure();
  options.fuel = *fuel;
  OrFailure<std::optional<absl::Duration>> timeout = ParseTimeout(arguments);
  if (!timeout.ok()) return timeout.failure();
  options.timeout = *timeout;
  // The file last: what is wrong with the line itself is said first.
  if (const auto policy = arguments.Get("policy"); policy.has_value()) {
    if (NamesFile(*policy)) {
      OrFailure<PolicyText> file = ReadPolicyFile(*policy);
      if (!file.ok()) return file.failure();
      options.policy_file = *std::move(file);
    } else {
      options.policy_name = *policy;
    }
  }
  return options;
}

std::string ProgramName(const std::string& operand) {
  const size_t slash = operand.rfind('/');
  return slash == std::string::npos ? operand : operand.substr(slash + 1);
}

v1::StoreConfig StoreConfigOf(const RunOptions& options,
                              const std::string& digest,
                              const std::string& operand,
                              const std::vector<std::string>& guest_args) {
  v1::StoreConfig config;
  config.set_module(digest);
  if (options.policy_name.has_value()) {
    config.set_policy(*options.policy_name);
  }
  if (options.policy_file.has_value()) {
    config.set_inline_policy(options.policy_file->text);
    config.set_inline_policy_file_name(options.policy_file->filename);
  }
  // A digest is no name that a guest would print.
  if (operand != digest) config.set_program_name(ProgramName(operand));
  for (const std::string& arg : guest_args) config.add_args(arg);
  for (const std::string& variable : options.env) config.add_env(variable);
  for (const DirectoryOption& dir : options.dirs) {
    v1::DirectoryMapping& mapping = *config.add_dirs();
    mapping.set_host_path(dir.host_path);
    mapping.set_guest_path(dir.guest_path);
  }
  for (const StubOption& stub : options.stubs) {
    v1::StubImport& import = *config.add_stubs();
    import.set_module(stub.module);
    import.set_name(stub.name);
  }
  if (options.fuel.has_value()) config.set_fuel(*options.fuel);
  if (options.timeout.has_value()) {
    *config.mutable_timeout() = ToProto(*options.timeout);
  }
  return config;
}

}  // namespace callgate::cli
