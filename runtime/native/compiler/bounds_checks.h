// Bounds checks of memory: takes out those that cannot fail, and makes the
// others cheap.
//
// A check is a branch to a block of its own that traps, if the end of an
// access is behind the length of the memory. It goes
//  - where the end is known to be within the pages that the memory has from
//    its beginning, which is what most accesses to static data are;
//  - where another check of the same base, as far or farther, dominates it
//    while the length is the same value.
// No check is weakened or moved: what traps, traps where it did.
//
// For the optimised level, once lengths and bases are SSA values and common
// subexpressions are gone. Leaves the dead trap blocks to SimplifyCFG.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_BOUNDS_CHECKS_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_BOUNDS_CHECKS_H_

#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Analysis/ScalarEvolution.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/Function.h"

namespace callgate::native {

// Of the function that `dominators` are of. Returns how many it took out.
int RemoveBoundsChecks(const llvm::DominatorTree& dominators,
                       llvm::ScalarEvolution& scalars);

// Writes checks as `address > length - bytes`, whose right side is computed
// once for many checks and outside of loops, where it was `address + bytes >
// length`. The last pass: InstCombine would write it back.
void CompareWithLimits(llvm::Function& function, const llvm::LoopInfo& loops);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_BOUNDS_CHECKS_H_
