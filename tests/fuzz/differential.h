// One module on the native engine's two levels and on the reference engine:
// do they agree?
//
//   native, both levels, against the reference   results, traps, hook events,
//                                                what probes tell, final
//                                                memory, globals, tables
//   the two levels                               also backtraces, and fuel at
//                                                every host call; all of it
//                                                where fuel runs out, too
//   a level with probes, and without             everything else
//   a call with enough fuel, and with less       the same up to the last host
//                                                call that was paid for
//
// Tests only: the compiler is in this process. One thread.

#ifndef CALLGATE_TESTS_FUZZ_DIFFERENTIAL_H_
#define CALLGATE_TESTS_FUZZ_DIFFERENTIAL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/engine.h"
#include "runtime/native/compiler/planted_faults.h"
#include "tests/fuzz/module_generator.h"
#include "tests/fuzz/outcome.h"

namespace callgate::fuzz {

// How many bytes a seed's module is made of.
inline constexpr size_t kSeedBytes = 3'000;

struct Tally {
  uint64_t modules = 0;
  uint64_t calls = 0;
  uint64_t values = 0;  // calls that returned
  uint64_t traps = 0;
  uint64_t exhausted = 0;  // modules whose comparison ended there
  uint64_t wasm_bytes = 0;
};

class Differential {
 public:
  Differential();
  ~Differential();
  Differential(const Differential&) = delete;
  Differential& operator=(const Differential&) = delete;

  // Says how the engines differ on the module that the bytes make; empty if
  // they agree.
  std::string Check(absl::Span<const uint8_t> bytes);

  // Which of the faults that are asked for show on this module when the native
  // engine's code has them.
  struct Found {
    native::PlantedFault fault;
    std::string difference;
  };
  std::vector<Found> CheckFaults(absl::Span<const uint8_t> bytes,
                                 absl::Span<const native::PlantedFault> faults);

  // Cuts and clears bytes as long as the engines still differ.
  std::vector<uint8_t> Shrink(std::vector<uint8_t> bytes, int attempts_max);

  const Tally& tally() const { return tally_; }
  // Forgets what was checked since.
  void SetTally(const Tally& tally) { tally_ = tally; }

 private:
  class Source;
  struct NativePair;

  void Count(const Outcome& outcome);
  absl::StatusOr<Outcome> Reference(absl::Span<const uint8_t> bytes);
  absl::StatusOr<Outcome> Native(const Engine& engine,
                                 const GeneratedModule& generated);
  std::string CheckShortOfFuel(const NativePair& pair,
                               const GeneratedModule& generated,
                               const std::shared_ptr<const Module>& baseline,
                               const std::shared_ptr<const Module>& optimised,
                               const Outcome& whole, uint64_t share);

  const std::unique_ptr<Engine> reference_;
  std::unique_ptr<Source> source_;
  // With fuel, without, and for newer processors.
  std::vector<NativePair> pairs_;
  Tally tally_;
};

// What somebody needs to look into a difference: writes `bytes` and the module
// to files that begin with `path`, and says how to read them.
std::string Report(absl::Span<const uint8_t> bytes,
                   const std::string& difference, const std::string& path);

}  // namespace callgate::fuzz

#endif  // CALLGATE_TESTS_FUZZ_DIFFERENTIAL_H_
