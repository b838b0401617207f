// What a run of a generated module came to, as far as engines must agree.

#ifndef CALLGATE_TESTS_FUZZ_OUTCOME_H_
#define CALLGATE_TESTS_FUZZ_OUTCOME_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/engine.h"
#include "runtime/module.h"
#include "tests/fuzz/module_generator.h"

namespace callgate::fuzz {

struct CallOutcome {
  // "f3(i32:7) = i64:1", "f3(i32:7) traps: unreachable".
  std::string text;
  // Functions and offsets of a trap's backtrace.
  std::string frames;
  uint64_t fuel = 0;
  // It ran out of stack: what it did before is not the same everywhere.
  bool exhausted = false;
  // How many words of Outcome::events there were afterwards.
  size_t events = 0;
};

struct Outcome {
  // The instantiation first.
  std::vector<CallOutcome> calls;
  // Every event of the hook, and what the host functions were given: a header,
  // then arguments and results.
  std::vector<uint64_t> events;
  // The function that made each host call. Where it was a tail call engines may
  // name the function that made way, or none.
  std::vector<uint32_t> callers;
  std::string globals;
  std::string tables;
  std::vector<std::vector<uint8_t>> memories;
};

struct RunOptions {
  // For every call; nothing: as much as it wants.
  std::optional<uint64_t> fuel;
  std::optional<absl::Duration> wall;
};

// Runs the module's calls in a Store of its own.
absl::StatusOr<Outcome> Run(const Engine& engine,
                            std::shared_ptr<const Module> module,
                            const GeneratedModule& generated,
                            const RunOptions& options = {});

enum class Strictness : uint8_t {
  kSameMeaning,  // of two engines
  kSameCost,     // also fuel and backtraces
};

// Says where the two differ first; empty if they agree. Where the stack of one
// of them is exhausted the comparison ends.
std::string Difference(const Outcome& left, const Outcome& right,
                       Strictness strictness);

}  // namespace callgate::fuzz

#endif  // CALLGATE_TESTS_FUZZ_OUTCOME_H_
