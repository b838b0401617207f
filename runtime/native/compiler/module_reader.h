// The first pass: decodes and validates a module with libwabt, streaming, and
// collects what the answer and the translation need. Nothing here recurses on
// the input. Runs in the compile worker only.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_MODULE_READER_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_MODULE_READER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/admission/features.h"
#include "runtime/native/compiled_module.pb.h"
#include "runtime/native/compiler/module_info.h"
#include "wabt/feature.h"

namespace callgate::native {

wabt::Features ToWabt(const admission::Features& features);

// Fills `info` and, except for the code, `answer`. InvalidArgument with the
// first complaint and its offset when the module is not valid; Unimplemented
// for what this compiler does not translate.
absl::Status ReadModule(absl::Span<const uint8_t> bytes,
                        const admission::Features& features, ModuleInfo& info,
                        CompiledModule& answer);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_MODULE_READER_H_
