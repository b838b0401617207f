// Small guests for the tests with real binaries, and policies for them.

#ifndef CALLGATE_TESTS_E2E_GUESTS_H_
#define CALLGATE_TESTS_E2E_GUESTS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace callgate::e2e {

// The binary of a module in the text format. Aborts the test on an error.
std::string Assemble(absl::string_view wat);

// A command that writes `text` (no quotes or backslashes) to stdout and
// returns.
std::string Says(absl::string_view text);
// A command that ends itself with this exit code.
std::string ExitsWith(int code);
// A command that asks for random bytes and exits with the errno it got.
std::string ExitsWithErrnoOfRandomGet();
// A command that copies stdin to stdout until its end.
std::string CopiesStdin();
// A command that writes "spinning" and a new line to stdout and never ends.
std::string Spins();
// A command that writes "begun" and a new line to stdout, asks for random bytes
// until that fails, and exits with the errno it got then.
std::string AsksForRandomUntilDenied();
// A command that opens `path` below its first directory for reading and exits
// with the errno it got.
std::string ExitsWithErrnoOfOpening(absl::string_view path);
// A command that calls net.send(i32) -> i32 once and exits with the result.
std::string SendsOnce();
// Exports: memory (1 page); add(i32, i32) -> i32; divide(i32, i32) -> i32;
// peek(i32) -> i32, which loads a byte; spin(), which never ends; echo64(i64)
// and echof(f64); no `_start`.
std::string Library();

// Allows WASI and net.send. On offer: must be asked for by name.
inline constexpr char kOpenPolicy[] = R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: open }
include: [wasi-preview1-base]
imports:
  - { import: net.send, action: allow }
)yaml";

// WASI, but random_get is denied with EPERM (63).
inline constexpr char kNoRandomPolicy[] = R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: no-random }
include: [wasi-preview1-base]
imports:
  - id: dice-are-out
    import: wasi_snapshot_preview1.random_get
    action: deny
    guest_errno: 63
)yaml";

// WASI; net.send puts the module into quarantine.
inline constexpr char kQuarantinePolicy[] = R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: no-sending }
include: [wasi-preview1-base]
imports:
  - { id: caught, import: net.send, action: quarantine_module }
)yaml";

}  // namespace callgate::e2e

#endif  // CALLGATE_TESTS_E2E_GUESTS_H_
