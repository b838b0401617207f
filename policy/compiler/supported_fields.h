// What the policy format knows and this engine does not do yet.
//
// The list names what is done: a field that is added to the schema is refused
// until somebody lists it.

#ifndef CALLGATE_POLICY_COMPILER_SUPPORTED_FIELDS_H_
#define CALLGATE_POLICY_COMPILER_SUPPORTED_FIELDS_H_

#include <vector>

#include "policy/file/policy_file.h"
#include "policy/file/problem.h"

namespace callgate::policy {

// A problem "…: not supported yet" for each outermost field that the file uses
// and the engine does not do.
std::vector<Problem> FindUnsupportedFields(const LoadedPolicyFile& file);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_COMPILER_SUPPORTED_FIELDS_H_
