// Function names from a module's "name" custom section.
//
// The section is a debugging aid that the specification says to ignore when it
// is malformed, so reading it never fails: what can be read before the first
// oddity is used. Bounded by the bytes given; no recursion. Pure: any thread.

#ifndef CALLGATE_RUNTIME_NAME_SECTION_H_
#define CALLGATE_RUNTIME_NAME_SECTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace callgate {

inline constexpr size_t kFunctionNameBytesMax = 256;

// `names[i]` becomes the name of function i, cut to kFunctionNameBytesMax, for
// each function below names.size() that the section names. The first name of a
// function wins. `bytes` is a module that passed admission.
void ReadFunctionNames(absl::Span<const uint8_t> bytes,
                       std::vector<std::string>& names);

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_NAME_SECTION_H_
