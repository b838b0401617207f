// The command line of `callgate bench`, checked.

#ifndef CALLGATE_SERVER_CLI_BENCH_OPTIONS_H_
#define CALLGATE_SERVER_CLI_BENCH_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/cli/arguments.h"
#include "server/cli/bench_engines.h"
#include "server/cli/failure.h"
#include "server/cli/run_options.h"

namespace callgate::cli {

// What sits in the Store's call hook.
enum class BenchHook {
  kNone,    // nothing: the slot is empty
  kNull,    // a hook that wants every transition and always proceeds
  kPolicy,  // the policy engine
};

struct BenchOptions {
  std::string file;
  // Absent: the module is compiled and instantiated, and nothing called.
  std::optional<std::string> invoke;
  std::vector<std::string> args;
  uint64_t repeat = 10;
  EngineChoice engine;
  BenchHook hook = BenchHook::kNone;
  std::optional<PolicyText> policy;  // with kPolicy
  std::vector<StubOption> stubs;
};

inline constexpr uint64_t kBenchRepeatMax = 1'000'000;

std::vector<Flag> BenchFlags();

// Reads the policy file, not the module.
OrFailure<BenchOptions> ParseBenchOptions(const Arguments& arguments);

// "none", "null", "policy".
const char* BenchHookName(BenchHook hook);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_BENCH_OPTIONS_H_
