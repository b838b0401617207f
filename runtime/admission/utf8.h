// Whether bytes are UTF-8 as WebAssembly requires of names: shortest form, no
// surrogates, nothing past U+10FFFF.

#ifndef CALLGATE_RUNTIME_ADMISSION_UTF8_H_
#define CALLGATE_RUNTIME_ADMISSION_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace callgate::admission {

// Where the first sequence begins that is not UTF-8; nothing if all of it is.
std::optional<size_t> FindInvalidUtf8(absl::Span<const uint8_t> bytes);

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_UTF8_H_
