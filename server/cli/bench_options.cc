#include "server/cli/bench_options.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/cli/quoted.h"
#include "server/cli/values.h"

namespace callgate::cli {

std::vector<Flag> BenchFlags() {
  return {
      {"invoke", "EXPORT", "the function to call"},
      {"arg", "N", "its next argument", true},
      {"repeat", "N", "how often it is timed [10]"},
      {"engine", "NAME", "native or reference [native]", false, 0,
       "native|reference"},
      {"level", "LEVEL", "of native code: baseline or optimised [baseline]",
       false, 0, "baseline|optimised"},
      {"fuel", "on|off", "whether fuel is counted [off]", false, 0, "on|off"},
      {"hook", "none|null|policy FILE",
       "what judges crossings: see above [none]", false, 0, "none|null|policy",
       "policy"},
      {"policy", "FILE", "the policy, where --hook policy names none"},
      {"stub", "MODULE.NAME",
       "defines an import that does nothing and returns zeros", true},
      {"json", "", "prints JSON, one object on one line"},
  };
}

OrFailure<BenchOptions> ParseBenchOptions(const Arguments& arguments) {
  BenchOptions options;
  options.file = arguments.operands()[0];
  options.invoke = arguments.Get("invoke");
  options.args = arguments.All("arg");
  if (!options.invoke.has_value() && !options.args.empty()) {
    return WrongUsage("--arg without --invoke: there is no call to pass it to");
  }
  if (const auto text = arguments.Get("repeat"); text.has_value()) {
    const absl::StatusOr<uint64_t> repeat = ParseUnsigned(*text, "--repeat");
    if (!repeat.ok()) return WrongUsage(repeat.status().message());
    if (*repeat == 0 || *repeat > kBenchRepeatMax) {
      return WrongUsage(absl::StrCat(
          "--repeat ", *repeat, " is not between 1 and ", kBenchRepeatMax));
    }
    options.repeat = *repeat;
  }
  options.engine.engine =
      arguments.Get("engine").value_or(options.engine.engine);
  options.engine.level = arguments.Get("level").value_or("");
  options.engine.fuel = arguments.Get("fuel").value_or("off") == "on";

  const std::string hook = arguments.Get("hook").value_or("none");
  if (hook == "null") options.hook = BenchHook::kNull;
  if (hook == "policy") options.hook = BenchHook::kPolicy;
  const std::optional<std::string> policy = arguments.Get("policy");
  if (options.hook == BenchHook::kPolicy && !policy.has_value()) {
    return WrongUsage("--hook policy needs a policy: --hook policy FILE");
  }
  if (options.hook != BenchHook::kPolicy && policy.has_value()) {
    return WrongUsage(absl::StrCat("--policy ", Quoted(*policy),
                                   " has no effect without --hook policy"));
  }
  OrFailure<std::vector<StubOption>> stubs = ParseStubs(arguments);
  if (!stubs.ok()) return stubs.failure();
  options.stubs = *std::move(stubs);
  // The file last: what is wrong with the line itself is said first.
  if (policy.has_value()) {
    OrFailure<PolicyText> file = ReadPolicyFile(*policy);
    if (!file.ok()) return file.failure();
    options.policy = *std::move(file);
  }
  return options;
}

const char* BenchHookName(BenchHook hook) {
  switch (hook) {
    case BenchHook::kNone:
      return "none";
    case BenchHook::kNull:
      return "null";
    case BenchHook::kPolicy:
      return "policy";
  }
  return "unknown";
}

}  // namespace callgate::cli
