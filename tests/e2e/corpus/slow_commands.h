// Programs of the corpus that take the reference engine more than ten seconds,
// with the processor time they took in an unoptimised build on a machine with
// two cores. What takes more than two minutes waits for an engine that
// compiles.

#ifndef CALLGATE_TESTS_E2E_CORPUS_SLOW_COMMANDS_H_
#define CALLGATE_TESTS_E2E_CORPUS_SLOW_COMMANDS_H_

#include "absl/strings/string_view.h"

namespace callgate::e2e {

struct SlowCommand {
  const char* name;
  double seconds;
};

inline constexpr SlowCommand kSlowCommands[] = {
    {"sg-shootout-base64", 90},
    {"sg-shootout-ctype", 149},
    {"sg-shootout-matrix", 110},
    {"sg-libsodium-core3", 51},
    {"sg-libsodium-verify1", 37},
    // Given up after forty seconds of the clock; never run to their end here.
    {"sg-shootout-fib2", 40},
    {"sg-shootout-heapsort", 40},
    {"sg-shootout-sieve", 40},
};

// 0 for a program that is not slow.
inline double SlowCommandSeconds(absl::string_view name) {
  for (const SlowCommand& command : kSlowCommands) {
    if (name == command.name) return command.seconds;
  }
  return 0;
}

}  // namespace callgate::e2e

#endif  // CALLGATE_TESTS_E2E_CORPUS_SLOW_COMMANDS_H_
