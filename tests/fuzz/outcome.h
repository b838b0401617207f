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
  // How many words of Outcome::events and ::probes there were afterwards, and
  // how many of Outcome::host_calls.
  size_t events = 0;
  size_t probes = 0;
  size_t host_calls = 0;
};

struct HostCallOutcome {
  // The function that made it. Where it was a tail call engines may name the
  // function that made way, or none.
  uint32_t caller = 0;
  // What the Store had burnt when it was made.
  uint64_t fuel = 0;
  // Words of Outcome::events, its own included.
  size_t events = 0;
};

struct Outcome {
  // The instantiation first.
  std::vector<CallOutcome> calls;
  // Every event of the hook, and what the host functions were given: a header,
  // then arguments and results.
  std::vector<uint64_t> events;
  // What probes told, and after how many words of the events each time.
  std::vector<uint64_t> probes;
  bool probed = false;
  std::vector<HostCallOutcome> host_calls;
  std::string globals;
  std::string tables;
  std::vector<std::vector<uint8_t>> memories;
};

struct RunOptions {
  // For every call; nothing: as much as it wants.
  std::optional<uint64_t> fuel;
  std::optional<absl::Duration> wall;
  // Whether the hook asks for the module's probes.
  bool probes = true;
};

// Runs the module's calls in a Store of its own.
absl::StatusOr<Outcome> Run(const Engine& engine,
                            std::shared_ptr<const Module> module,
                            const GeneratedModule& generated,
                            const RunOptions& options = {});

enum class Strictness : uint8_t {
  kSameMeaning,  // of two engines
  kSameCost,     // also fuel, backtraces and callers
};

// Says where the two differ first; empty if they agree. Where the stack of one
// of them is exhausted the comparison ends. What probes told is compared where
// both asked for it.
std::string Difference(const Outcome& left, const Outcome& right,
                       Strictness strictness);

// Says where `cut`, which had `fuel` for each call, does not end as it has to
// if `whole` is what the calls do with enough: the first that needs more ends
// with out_of_fuel and has used what it had, and what it did up to then, exact
// to the host call, is what the whole one did. Empty if all is well.
std::string CutWrong(const Outcome& whole, const Outcome& cut, uint64_t fuel);

}  // namespace callgate::fuzz

#endif  // CALLGATE_TESTS_FUZZ_OUTCOME_H_
