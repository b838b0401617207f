// Whether a policy fits the functions that are known, before it meets a module.
//
// A rule that names a function and reads an argument that the function does not
// have is wrong, whatever module comes: its author is told when the file is
// loaded and not when the first module is refused. A rule that names no
// function may be meant for modules that import none of those it does not fit;
// that is a warning.

#ifndef CALLGATE_POLICY_TRIAL_KNOWN_FUNCTION_FIT_H_
#define CALLGATE_POLICY_TRIAL_KNOWN_FUNCTION_FIT_H_

#include "policy/policy.h"
#include "policy/trial/function_catalogue.h"

namespace callgate::policy::trial {

// One finding for each place in the file, at the first function that shows it.
// Pure. Any thread.
LinkFindings FitToKnownFunctions(const Policy& policy,
                                 const FunctionCatalogue& functions);

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_KNOWN_FUNCTION_FIT_H_
