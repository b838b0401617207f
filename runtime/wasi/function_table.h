// What runs for every function of WASI preview 1.

#ifndef CALLGATE_RUNTIME_WASI_FUNCTION_TABLE_H_
#define CALLGATE_RUNTIME_WASI_FUNCTION_TABLE_H_

#include "absl/types/span.h"
#include "runtime/wasi/function_info.h"
#include "runtime/wasi/functions.h"

namespace callgate {
namespace wasi {

// The bodies, in the order of AllFunctions().
absl::Span<const FunctionBody> FunctionBodies();

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_FUNCTION_TABLE_H_
