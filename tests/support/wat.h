// The WebAssembly text format for tests: guests are written beside the test
// that runs them, and become bytes here.
//
// Tests only. It parses with libwabt, which must never see text or bytes from
// a tenant. Stateless; any thread.

#ifndef CALLGATE_TESTS_SUPPORT_WAT_H_
#define CALLGATE_TESTS_SUPPORT_WAT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate {

// The binary of one `(module …)`. `$names` go into a name section. Every
// proposal that the assembler knows may be used, since what an engine accepts
// is the engine's to say.
//
// InvalidArgument with line, column and the source line when the text does not
// parse or the module is not valid.
absl::StatusOr<std::vector<uint8_t>> AssembleWat(absl::string_view text);

// The same for a module that is meant to be invalid: only its syntax is
// checked.
absl::StatusOr<std::vector<uint8_t>> AssembleWatWithoutValidation(
    absl::string_view text);

}  // namespace callgate

#endif  // CALLGATE_TESTS_SUPPORT_WAT_H_
