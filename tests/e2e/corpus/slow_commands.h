// Programs of the corpus that take the reference engine more than ten seconds,
// with what they took on a machine with two cores at 2 GHz. What takes more
// than two minutes waits for an engine that compiles.

#ifndef CALLGATE_TESTS_E2E_CORPUS_SLOW_COMMANDS_H_
#define CALLGATE_TESTS_E2E_CORPUS_SLOW_COMMANDS_H_

#include "absl/strings/string_view.h"

namespace callgate::e2e {

struct SlowCommand {
  const char* name;
  double seconds;
};

inline constexpr SlowCommand kSlowCommands[] = {
    {"sg-shootout-base64", 60},   {"sg-shootout-ctype", 60},
    {"sg-shootout-fib2", 600},    {"sg-shootout-heapsort", 600},
    {"sg-shootout-matrix", 60},   {"sg-shootout-sieve", 300},
    {"sg-libsodium-verify1", 60}, {"sg-libsodium-core3", 60},
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
