// What a command line says of a Store to be made: shared by `run` and
// `store create`, with a daemon and without.
//
// Values; any thread.

#ifndef CALLGATE_SERVER_CLI_RUN_OPTIONS_H_
#define CALLGATE_SERVER_CLI_RUN_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/callgate/v1/store_service.pb.h"
#include "server/cli/arguments.h"
#include "server/cli/failure.h"

namespace callgate::cli {

// --policy, --dir, --env, --stub, --fuel, --timeout.
std::vector<Flag> StoreFlags();

struct DirectoryOption {
  std::string host_path;  // absolute
  std::string guest_path;
};

struct StubOption {
  std::string module;
  std::string name;
};

// A policy file that has been read and has the right form.
struct PolicyText {
  std::string filename;
  std::string text;
};

struct RunOptions {
  // At most one of the two: a name that the daemon knows, or a file.
  std::optional<std::string> policy_name;
  std::optional<PolicyText> policy_file;
  std::vector<DirectoryOption> dirs;
  std::vector<std::string> env;  // "KEY=VALUE"
  std::vector<StubOption> stubs;
  std::optional<uint64_t> fuel;
  std::optional<absl::Duration> timeout;
};

// The flags of StoreFlags(), checked. Reads the policy file.
OrFailure<RunOptions> ParseRunOptions(const Arguments& arguments);

// --stub alone.
OrFailure<std::vector<StubOption>> ParseStubs(const Arguments& arguments);

// Reads a policy file and checks its form.
OrFailure<PolicyText> ReadPolicyFile(const std::string& path);

// --fuel and --timeout alone.
OrFailure<std::optional<uint64_t>> ParseFuel(const Arguments& arguments);
OrFailure<std::optional<absl::Duration>> ParseTimeout(
    const Arguments& arguments);

// What the guest sees as its own name: the file's, without its folders.
std::string ProgramName(const std::string& operand);

// As a request says it.
v1::StoreConfig StoreConfigOf(const RunOptions& options,
                              const std::string& digest,
                              const std::string& operand,
                              const std::vector<std::string>& guest_args);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_RUN_OPTIONS_H_
