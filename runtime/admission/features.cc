#include "runtime/admission/features.h"

namespace callgate::admission {

absl::string_view ProposalName(Proposal proposal) {
  switch (proposal) {
    case Proposal::kMvp:
      return "mvp";
    case Proposal::kMutableGlobals:
      return "mutable-global";
    case Proposal::kSaturatingFloat:
      return "nontrapping-float-to-int-conversions";
    case Proposal::kSignExtension:
      return "sign-extension-ops";
    case Proposal::kMultiValue:
      return "multi-value";
    case Proposal::kBulkMemory:
      return "bulk-memory-operations";
    case Proposal::kReferenceTypes:
      return "reference-types";
    case Proposal::kSimd:
      return "simd";
    case Proposal::kTailCall:
      return "tail-call";
    case Proposal::kExtendedConst:
      return "extended-const";
    case Proposal::kMultiMemory:
      return "multi-memory";
    case Proposal::kMemory64:
      return "memory64";
    case Proposal::kRelaxedSimd:
      return "relaxed-simd";
    case Proposal::kLegacyExceptions:
      return "legacy exception-handling";
    case Proposal::kThreads:
      return "threads";
    case Proposal::kExceptionReferences:
      return "exception-handling";
    case Proposal::kFunctionReferences:
      return "function-references";
    case Proposal::kGarbageCollection:
      return "gc";
    case Proposal::kStackSwitching:
      return "stack-switching";
    case Proposal::kWideArithmetic:
      return "wide-arithmetic";
    case Proposal::kCustomPageSizes:
      return "custom-page-sizes";
    case Proposal::kMemoryControl:
      return "memory-control";
    case Proposal::kStringReferences:
      return "stringref";
    case Proposal::kComponentModel:
      return "component-model";
    case Proposal::kUnknown:
      return "unknown";
  }
  return "unknown";
}

bool Features::Has(Proposal proposal) const {
  switch (proposal) {
    case Proposal::kMvp:
      return true;
    case Proposal::kMutableGlobals:
      return mutable_globals;
    case Proposal::kSaturatingFloat:
      return saturating_float;
    case Proposal::kSignExtension:
      return sign_extension;
    case Proposal::kMultiValue:
      return multi_value;
    case Proposal::kBulkMemory:
      return bulk_memory;
    case Proposal::kReferenceTypes:
      return reference_types;
    case Proposal::kSimd:
      return simd;
    case Proposal::kTailCall:
      return tail_call;
    case Proposal::kExtendedConst:
      return extended_const;
    case Proposal::kMultiMemory:
      return multi_memory;
    case Proposal::kMemory64:
      return memory64;
    case Proposal::kRelaxedSimd:
      return relaxed_simd;
    case Proposal::kLegacyExceptions:
      return exceptions;
    case Proposal::kThreads:
      return threads;
    case Proposal::kExceptionReferences:
    case Proposal::kFunctionReferences:
    case Proposal::kGarbageCollection:
    case Proposal::kStackSwitching:
    case Proposal::kWideArithmetic:
    case Proposal::kCustomPageSizes:
    case Proposal::kMemoryControl:
    case Proposal::kStringReferences:
    case Proposal::kComponentModel:
    case Proposal::kUnknown:
      return false;
  }
  return false;
}

}  // namespace callgate::admission
