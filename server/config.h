// What callgated is told: flags and a configuration file, made into one checked
// struct. Reads the file, opens nothing else.

#ifndef CALLGATE_SERVER_CONFIG_H_
#define CALLGATE_SERVER_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/verdict.h"

namespace callgate {

// The processors that this process may use, 1,024 at most.
uint32_t DefaultThreads();

struct Config {
  std::string listen = "127.0.0.1:50051";
  std::string metrics = "127.0.0.1:9464";
  std::string data;
  std::string policy_dir;               // empty: none
  std::vector<std::string> allow_dirs;  // absolute
  std::string alerts;                   // empty: none
  std::string announce;                 // empty: none
  absl::Duration drain_timeout = absl::Seconds(10);
  uint32_t max_stores = 256;
  uint32_t max_runs = 64;
  uint32_t threads = DefaultThreads();
  absl::Duration store_idle = absl::Hours(1);
  absl::Duration upload_stall = absl::Seconds(10);
  absl::Duration wall_per_call = absl::Seconds(60);
  std::string compiler;  // empty: beside the program
  uint32_t code_cache_mib = 2048;
  // Of each tenant.
  absl::Duration compile_time = absl::Minutes(10);
  absl::Duration compile_window = absl::Minutes(20);
  uint32_t compile_queue = 64;
  // Tenants whose denials must surge for a policy to go back; 0: it never does.
  uint32_t surge_rollback = 0;
  // The highest of what --policy-dir holds.
  policy::Mode policy_mode = policy::Mode::kEnforce;
  std::vector<std::string> audit_tenants;
  uint32_t trace_mib = 0;  // 0: no traces
  absl::Duration trace_age = absl::Hours(24);
  // A change of policy_dir has to pass a replay of so long; zero: of nothing.
  absl::Duration policy_replay;
  uint32_t policy_replay_max_changed = 0;
};

// What the command line asks for.
struct CommandLine {
  enum class Action { kRun, kHelp, kVersion };
  Action action = Action::kRun;
  Config config;  // for kRun
};

// `args` without the program's name. InvalidArgument with one sentence for each
// thing that is wrong, with its place: a flag, or FILE:LINE:COLUMN.
absl::StatusOr<CommandLine> ParseCommandLine(
    absl::Span<const absl::string_view> args);

// What --help prints.
std::string HelpText();

}  // namespace callgate

#endif  // CALLGATE_SERVER_CONFIG_H_
