// `callgate bench`: how long a module takes to compile, to instantiate and to
// call, measured in this process.

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/module.h"
#include "server/cli/bench_engines.h"
#include "server/cli/bench_guest.h"
#include "server/cli/bench_options.h"
#include "server/cli/bench_report.h"
#include "server/cli/bench_timing.h"
#include "server/cli/commands.h"
#include "server/cli/console.h"
#include "server/cli/local_guest.h"
#include "server/cli/module_upload.h"
#include "server/cli/outcome_report.h"
#include "server/module_admission.h"

namespace callgate::cli {
namespace {

using Policies = std::vector<std::shared_ptr<const policy::Policy>>;

// Instances made, each in a Store of its own; the last one is called.
constexpr int kInstances = 10;

// Compiles, and says how long that took.
OrFailure<std::shared_ptr<const Module>> TimedCompile(const Engine& engine,
                                                      const std::string& bytes,
                                                      const Policies& policies,
                                                      int64_t& took_ns) {
  const int64_t before = SteadyNs();
  absl::StatusOr<std::shared_ptr<const Module>> module =
      CompileModule(engine, bytes, LimitsUnder(engine, policies));
  took_ns = SteadyNs() - before;
  if (!module.ok()) return FailureOf(module.status());
  return *std::move(module);
}

OrFailure<BenchReport::Called> CallExport(BenchGuest& guest,
                                          const BenchOptions& options,
                                          const std::vector<Value>& args) {
  if (const auto failure = guest.Choose(*options.invoke)) return *failure;
  OrFailure<CallResult> first = guest.Call(args);
  if (!first.ok()) return first.failure();
  BenchReport::Called called;
  called.repeat = options.repeat;
  called.results = first->values;
  called.fuel_used = first->usage.fuel;
  called.host_calls = first->usage.host_calls;

  std::optional<Failure> failure;
  const Calls calls = [&](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const OrFailure<CallResult> result = guest.Call(args);
      if (!result.ok()) {
        failure = result.failure();
        return false;
      }
      if (result->values != called.results) called.stable = false;
    }
    return true;
  };
  const std::optional<CallTimes> times =
      TimeCalls(calls, options.repeat, SteadyNs);
  if (!times.has_value()) return *failure;
  called.times = *times;
  return called;
}

OrFailure<BenchReport> Measure(const Arguments& arguments) {
  OrFailure<BenchOptions> parsed = ParseBenchOptions(arguments);
  if (!parsed.ok()) return parsed.failure();
  const BenchOptions options = *std::move(parsed);
  OrFailure<BenchEngine> made = NewEngineByName(options.engine);
  if (!made.ok()) return made.failure();
  const BenchEngine bench = *std::move(made);
  const Engine& engine = *bench.engine;
  OrFailure<std::string> bytes = ReadModuleFile(options.file);
  if (!bytes.ok()) return bytes.failure();
  Policies policies;
  if (options.policy.has_value()) {
    OrFailure<std::shared_ptr<const policy::Policy>> policy =
        CompilePolicyOf(*options.policy);
    if (!policy.ok()) return policy.failure();
    policies.push_back(*std::move(policy));
  }

  BenchReport report;
  report.engine = std::string(engine.name());
  report.level = bench.level;
  report.fuel = options.engine.fuel;
  report.hook = BenchHookName(options.hook);

  int64_t took_ns = 0;
  OrFailure<std::shared_ptr<const Module>> module =
      TimedCompile(engine, *bytes, policies, took_ns);
  if (!module.ok()) return module.failure();
  report.compile_ms = static_cast<double>(took_ns) / 1e6;
  if (bench.code_bytes != nullptr) {
    report.code_bytes = bench.code_bytes(**module);
  }
  if (bench.keeps_code) {
    module = TimedCompile(engine, *bytes, policies, took_ns);
    if (!module.ok()) return module.failure();
    report.load_us = static_cast<double>(took_ns) / 1e3;
  }

  std::vector<Value> args;
  if (options.invoke.has_value()) {
    OrFailure<std::vector<Value>> values =
        ArgumentsOf(**module, *options.invoke, options.args);
    if (!values.ok()) return values.failure();
    args = *std::move(values);
  }

  std::unique_ptr<BenchGuest> guest;
  int64_t least_ns = std::numeric_limits<int64_t>::max();
  for (int i = 0; i < kInstances; ++i) {
    OrFailure<std::unique_ptr<BenchGuest>> prepared =
        BenchGuest::Prepare(engine, *module, options, policies);
    if (!prepared.ok()) return prepared.failure();
    guest = *std::move(prepared);
    if (i == 0) {
      for (const std::string& warning : guest->warnings()) {
        Say(absl::StrCat("warning: ", warning));
      }
    }
    const int64_t before = SteadyNs();
    const std::optional<Failure> failure = guest->Instantiate();
    least_ns = std::min(least_ns, SteadyNs() - before);
    if (failure.has_value()) return *failure;
  }
  report.instantiate_us = static_cast<double>(least_ns) / 1e3;

  if (options.invoke.has_value()) {
    OrFailure<BenchReport::Called> called = CallExport(*guest, options, args);
    if (!called.ok()) return called.failure();
    report.called = *std::move(called);
  }
  return report;
}

}  // namespace

int Bench(const Arguments& arguments) {
  const OrFailure<BenchReport> report = Measure(arguments);
  if (!report.ok()) return Report(report.failure());
  return Print(arguments.Has("json") ? BenchJson(*report) : BenchText(*report));
}

}  // namespace callgate::cli
