// What `callgate bench` found out, and how it is told.

#ifndef CALLGATE_SERVER_CLI_BENCH_REPORT_H_
#define CALLGATE_SERVER_CLI_BENCH_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/value.h"
#include "server/cli/bench_timing.h"

namespace callgate::cli {

struct BenchReport {
  std::string engine;
  std::string level;  // empty for an engine without levels
  bool fuel = false;
  std::string hook;

  // From the module's bytes to a Module.
  double compile_ms = 0;
  // The same where the machine code is there already. Absent for an engine that
  // keeps none.
  std::optional<double> load_us;
  // From no Store to an instance: the least of several.
  double instantiate_us = 0;
  std::optional<uint64_t> code_bytes;

  // The rest is about the export; absent or empty without one.
  struct Called {
    CallTimes times;
    uint64_t repeat = 0;
    std::vector<Value> results;  // of the first call
    // Every call returned the same.
    bool stable = true;
    // Of the first call.
    uint64_t fuel_used = 0;
    uint64_t host_calls = 0;
  };
  std::optional<Called> called;
};

// With a newline.
std::string BenchJson(const BenchReport& report);
std::string BenchText(const BenchReport& report);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_BENCH_REPORT_H_
