// Mistakes that a compiler could make, made on purpose, so that a test can show
// that it would find them.
//
// Tests only: the target is testonly, and nothing that compiles for a tenant
// can reach it. Any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_PLANTED_FAULTS_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_PLANTED_FAULTS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/native/compile_request.h"

namespace callgate::native {

enum class PlantedFault : uint8_t {
  kSignedCompareAsUnsigned,  // i32.lt_s and its like
  kWideShiftMaskOfNarrow,    // i64 shifts by count modulo 32
  kLoad8SignedZeroExtends,
  kMemoryBoundTooStrict,   // the last byte of a memory is out of bounds
  kTableBoundTooLoose,     // the element behind the last one is element 0
  kDivisionOverflowWraps,  // lowest / -1 does not trap
  kNanNotCanonical,
  kSelectArmsSwapped,
  kBranchTableDefaultIsFirst,  // beyond the table goes where its entry 0 goes
  kNarrowStoreLost,            // i32.store16 and its like
  kFuelChargedShort,           // one less for every block of two or more
  kMemoryCopyReversed,         // from target to source
  kMemoryLengthStale,          // a growth is not seen: the optimised level only
  kMinimumIgnoresNan,
  kUnsignedConversionIsSigned,  // f64.convert_i64_u and its like
  kSaturationIsSigned,          // i8x16.sub_sat_u and its like
  kRotateTheOtherWay,
  kWrongTrapCode,  // uninitialized element as undefined element
  kGlobalWriteLost,
  kHostArgumentsSwapped,  // the first two, where they are of one type
  kCount,
};
inline constexpr size_t kPlantedFaults =
    static_cast<size_t>(PlantedFault::kCount);

// "signed_compare_as_unsigned".
absl::string_view PlantedFaultName(PlantedFault fault);

struct FaultyCode {
  std::string answer;  // as LlvmCompiler::Compile's
  // In how many places the mistake was made.
  uint64_t places = 0;
};
absl::StatusOr<FaultyCode> CompileWithFault(PlantedFault fault,
                                            const CompileRequest& request,
                                            absl::Span<const uint8_t> module);

// Without the checks of the stack at the beginning of functions and those of
// memory accesses: both then end at a guard, in a signal.
absl::StatusOr<std::string> CompileWithoutChecks(
    const CompileRequest& request, absl::Span<const uint8_t> module);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_PLANTED_FAULTS_H_
