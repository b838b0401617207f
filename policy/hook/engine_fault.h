// The ways in which the policy engine itself can fail a call.
//
// Whatever it is, the call meets on_engine_error of the policies that judge it,
// it is counted, and the Store tells of the first of each kind. A way without a
// name here cannot be reported, and one without a case in engine_faults_test
// fails that test.

#ifndef CALLGATE_POLICY_HOOK_ENGINE_FAULT_H_
#define CALLGATE_POLICY_HOOK_ENGINE_FAULT_H_

#include <cstddef>
#include <cstdint>

namespace callgate::policy {

enum class EngineFault : uint8_t {
  // A host function that the hook was never told of is called.
  kFunctionNotLinked,
  // What the policies say of the import does not fit it.
  kImportNotJudged,
  // An argument could not be copied, by no fault of the guest's.
  kArgumentNotCopied,
  // The price of a call could not be worked out or taken.
  kCallNotPaid,
  // What the policies say of a growth or an inner function does not fit it.
  kEventNotJudged,
};

// Behind the last one.
inline constexpr size_t kEngineFaults =
    static_cast<size_t>(EngineFault::kEventNotJudged) + 1;

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_ENGINE_FAULT_H_
