// The code around guest functions: how the runtime calls one, how one calls the
// runtime, and how one is watched. One of each per function type of the module,
// see abi.h.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_THUNKS_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_THUNKS_H_

#include <cstdint>

#include "llvm/IR/Module.h"
#include "runtime/native/compiler/function_types.h"
#include "runtime/value.h"

namespace callgate::native {

// `e<index>`.
void WriteEntryTrampoline(const FunctionTypes& types, const FuncType& type,
                          uint32_t index, llvm::Module& module);
// `t<index>`.
void WriteHostThunk(const FunctionTypes& types, const FuncType& type,
                    uint32_t index, llvm::Module& module);
// `p<index>`.
void WriteProbeWrapper(const FunctionTypes& types, const FuncType& type,
                       uint32_t index, llvm::Module& module);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_THUNKS_H_
