// WebAssembly's proposals, and which of them an admitted module may use.
//
// A module of a proposal that is switched off, or that no part of this program
// implements, is refused by the proposal's name, so that its author learns
// which compiler flag to drop.

#ifndef CALLGATE_RUNTIME_ADMISSION_FEATURES_H_
#define CALLGATE_RUNTIME_ADMISSION_FEATURES_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace callgate::admission {

// Where a piece of the binary format comes from.
enum class Proposal : uint8_t {
  kMvp,  // WebAssembly 1.0, always on

  // Part of WebAssembly 2.0.
  kMutableGlobals,
  kSaturatingFloat,
  kSignExtension,
  kMultiValue,
  kBulkMemory,
  kReferenceTypes,
  kSimd,

  // Later ones, which the scan can read.
  kTailCall,
  kExtendedConst,
  kMultiMemory,
  kMemory64,
  kRelaxedSimd,
  kLegacyExceptions,
  kThreads,

  // Later ones, which are recognised only to be refused.
  kExceptionReferences,
  kFunctionReferences,
  kGarbageCollection,
  kStackSwitching,
  kWideArithmetic,
  kCustomPageSizes,
  kMemoryControl,
  kStringReferences,
  kComponentModel,

  // No proposal known here.
  kUnknown,
};

// As the proposal's repository is called: "tail-call", "memory64".
absl::string_view ProposalName(Proposal proposal);

// By default WebAssembly 2.0, no more.
struct Features {
  bool mutable_globals = true;
  bool saturating_float = true;
  bool sign_extension = true;
  bool multi_value = true;
  bool bulk_memory = true;
  bool reference_types = true;
  bool simd = true;

  bool tail_call = false;
  bool extended_const = false;
  bool multi_memory = false;
  bool memory64 = false;
  bool relaxed_simd = false;
  bool exceptions = false;  // the legacy form: try, catch, delegate
  bool threads = false;

  // False for every proposal that the scan cannot read.
  bool Has(Proposal proposal) const;
};

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_FEATURES_H_
