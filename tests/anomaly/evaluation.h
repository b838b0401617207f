// Learning, choosing thresholds, testing: each with inputs of its own.
//
//   1. Each program's profile learns from its training jobs.
//   2. Validation jobs are scored, and each program gets its own thresholds, as
//      each would have a policy of its own: one above the highest that its
//      clean validation runs came to, and never less than a single odd call
//      comes to by itself. Attacks have no say in it.
//   3. Only then are test jobs and test attacks made and scored.
//
// An alert is a call at which the condition becomes true: the frame score is at
// least `frame`, or the share of the call's import is `share_z` deviations
// above its mean. An attack is found when there is an alert at one of its calls
// or at most a locality frame later.
//
// Everything follows from `seed`.

#ifndef CALLGATE_TESTS_ANOMALY_EVALUATION_H_
#define CALLGATE_TESTS_ANOMALY_EVALUATION_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "policy/anomaly/shape.h"
#include "tests/anomaly/attacks.h"

namespace callgate::anomaly_test {

inline constexpr uint32_t kFrame = 20;
// Thresholds that are tried. The last of each is never reached.
inline constexpr std::array<uint32_t, 16> kFrameThresholds = {
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 99};
// Beside the frame's: how many calls from call sites that the profile has never
// seen, how many novel calls of the last 1024, and how unusual a share.
struct Sides {
  uint32_t strange = 9999;
  uint32_t recent = 9999;
  double share_z = 1e9;
};
inline constexpr std::array<Sides, 16> kSides = {{
    {1, 12, 1e9},
    {1, 16, 1e9},
    {1, 20, 1e9},
    {1, 28, 1e9},
    {1, 9999, 1e9},
    {2, 12, 1e9},
    {2, 16, 1e9},
    {2, 20, 1e9},
    {2, 9999, 1e9},
    {9999, 16, 1e9},
    {9999, 20, 1e9},
    {1, 20, 20},
    {1, 20, 12},
    {9999, 9999, 12},
    {9999, 9999, 20},
    {9999, 9999, 1e9},
}};

struct Sizes {
  // Runs of each program.
  uint64_t training_runs = 820;
  // And three more for each percent of the test's calls that are the program's.
  uint64_t training_long_runs = 10;
  uint64_t validation_runs = 600;
  uint64_t test_runs = 800;
  // Of all programs together, at least; what usual runs leave open is made up
  // by long ones.
  uint64_t validation_calls = 8'000'000;
  uint64_t test_calls = 32'000'000;
  // Of each kind against each program.
  uint64_t attacks = 2;
};

// An alert is a score that is at least one of these.
struct Thresholds {
  uint32_t frame = 7;
  uint32_t strange = 1;
  uint32_t recent = 20;
  double share_z = 20;
};

// By [frame][side].
template <typename T>
using ByThreshold =
    std::array<std::array<T, kSides.size()>, kFrameThresholds.size()>;

struct ProgramResult {
  std::string name;
  uint64_t training_runs = 0;
  uint64_t training_calls = 0;
  uint64_t ngrams = 0;
  uint64_t letters = 0;
  uint64_t profile_bytes = 0;
  uint64_t test_runs = 0;
  uint64_t test_calls = 0;
  ByThreshold<uint64_t> false_alerts{};
  Thresholds chosen;
  uint64_t chosen_false_alerts = 0;
};

struct AttackResult {
  std::string program;
  AttackKind kind = AttackKind::kExfiltration;
  bool is_script = false;
  // By input alone, which overwrites an index of a function.
  bool takes_over = false;
  std::string what;
  // The highest from its first call on.
  uint32_t frame = 0;
  uint32_t strange = 0;
  uint32_t recent = 0;
  double share_z = 0;
  bool found = false;  // by the chosen thresholds
  // The highest of the same run without the attack, where there is such a run:
  // an alert there is none about the attack.
  uint32_t twin_frame = 0;
  uint32_t twin_strange = 0;
  uint32_t twin_recent = 0;
  double twin_share_z = 0;
};

struct Evaluation {
  policy::anomaly::Shape shape;
  Sizes sizes;
  uint64_t seed = 0;
  uint64_t validation_calls = 0;
  uint64_t validation_attacks = 0;
  uint64_t validation_found = 0;
  std::vector<ProgramResult> programs;
  std::vector<AttackResult> attacks;
  // Of the test: attacks found, and alerts on clean runs.
  ByThreshold<uint64_t> found{};
  ByThreshold<uint64_t> false_alerts{};
  // The same with each program's own thresholds.
  uint64_t chosen_found = 0;
  uint64_t chosen_false_alerts = 0;
  uint64_t test_calls = 0;
  uint64_t test_runs = 0;
};

// The sizes of the part with victims.
Sizes VictimSizes();

Evaluation Evaluate(const policy::anomaly::Shape& shape, const Sizes& sizes,
                    uint64_t seed, const std::string& corpus,
                    const std::string& scratch);
// The same with the programs of victims.h, which lie in `folder`, and with
// attacks that are input alone.
Evaluation EvaluateVictims(const policy::anomaly::Shape& shape,
                           const Sizes& sizes, uint64_t seed,
                           const std::string& folder,
                           const std::string& scratch);

}  // namespace callgate::anomaly_test

#endif  // CALLGATE_TESTS_ANOMALY_EVALUATION_H_
