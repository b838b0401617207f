// The engines that `callgate bench` can measure, by name. An engine joins by
// one line of the table in bench_engines.cc.

#ifndef CALLGATE_SERVER_CLI_BENCH_ENGINES_H_
#define CALLGATE_SERVER_CLI_BENCH_ENGINES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/engine.h"
#include "runtime/module.h"
#include "server/cli/failure.h"

namespace callgate::cli {

struct EngineChoice {
  std::string engine = "native";
  // "baseline" or "optimised"; empty where none was asked for: the engine's
  // own choice, which for the native one is the baseline.
  std::string level;
  // Whether code counts fuel. An engine that always counts ignores it.
  bool fuel = false;
};

// An engine made to be measured.
struct BenchEngine {
  // What `engine` belongs to.
  std::shared_ptr<void> owner;
  const Engine* engine = nullptr;
  // Of the code that it makes; empty for an engine without levels.
  std::string level;
  // Bytes of machine code of a module that it compiled; null for an engine
  // without machine code.
  uint64_t (*code_bytes)(const Module& module) = nullptr;
  // A second Compile of the same bytes takes the machine code of the first and
  // only loads it.
  bool keeps_code = false;
};

// A usage failure names what this build, or the engine, does not have.
OrFailure<BenchEngine> NewEngineByName(const EngineChoice& choice);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_BENCH_ENGINES_H_
