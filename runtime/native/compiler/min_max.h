// The lesser and the greater of two floats, in few instructions of x86.
//
// LLVM's own sequence for llvm.minimum and llvm.maximum has compares and blends
// one behind the other, which is long where a loop waits for it.
//
// A NaN that comes out may have any bits.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_MIN_MAX_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_MIN_MAX_H_

#include "llvm/IR/Module.h"

namespace callgate::native {

// Replaces all calls of the two intrinsics, after any pass that knows them.
// `branches`: scalars may have a branch each, for operands that are equal or
// NaNs.
void ExpandMinMax(llvm::Module& module, bool branches);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_MIN_MAX_H_
