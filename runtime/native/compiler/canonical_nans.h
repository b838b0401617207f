// Moves the correction of NaNs to where bits are seen.
//
// A correction is `x is a NaN ? the canonical NaN : x`. The translator writes
// one where the result of arithmetic goes into a local, a store, a call and so
// on, without knowing what becomes of it. Once locals are SSA values, this pass
// knows: arithmetic and comparisons take any NaN for any other, so that a value
// that only goes there, through however many phis and selects, needs no
// correction; and where phis gather corrected values and constants, they can
// gather the uncorrected ones, to be corrected behind them. A loop that adds up
// then corrects its sum once, behind its end.
//
// What is observed stays what it was, bit for bit. Values that no arithmetic
// made (loads, parameters, results of calls) keep their bits: a phi of one of
// them and of a corrected value is left alone unless its bits do not matter.
//
// For the optimised level, after SROA and before any pass that rewrites
// selects. Time is linear in the function. Nothing recurses.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_CANONICAL_NANS_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_CANONICAL_NANS_H_

#include "llvm/Analysis/LoopInfo.h"
#include "llvm/IR/Function.h"

namespace callgate::native {

// A correction goes no deeper into `loops` than the value is.
void CorrectNansLate(llvm::Function& function, const llvm::LoopInfo& loops);

// Makes corrections of scalars branches that are hardly ever taken, so that
// nothing waits for the test. What is stored is stored first and looked at
// then. The last pass.
void BranchForNans(llvm::Function& function);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_CANONICAL_NANS_H_
