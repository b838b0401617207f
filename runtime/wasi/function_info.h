// The functions of WASI preview 1 as modules import them and as policies name
// their arguments. Needs no Context.

#ifndef CALLGATE_RUNTIME_WASI_FUNCTION_INFO_H_
#define CALLGATE_RUNTIME_WASI_FUNCTION_INFO_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/host_function_spec.h"
#include "runtime/value.h"

namespace callgate {
namespace wasi {

inline constexpr absl::string_view kModuleName = "wasi_snapshot_preview1";

struct FunctionInfo {
  std::string name;
  FuncType type;
  HostFunctionSpec spec;
};
// All functions, by name. Lives as long as the process.
absl::Span<const FunctionInfo> AllFunctions();
// Null when WASI has no such function.
const FunctionInfo* FindFunction(absl::string_view name);

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_FUNCTION_INFO_H_
