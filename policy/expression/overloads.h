// Which types an operator takes, and what it gives.

#ifndef CALLGATE_POLICY_EXPRESSION_OVERLOADS_H_
#define CALLGATE_POLICY_EXPRESSION_OVERLOADS_H_

#include <optional>

#include "absl/types/span.h"
#include "policy/expression/function.h"
#include "policy/expression/type.h"

namespace callgate::policy::expression {

// Nothing if the function does not take these. The number of arguments must
// fit. Not for functions that the checker replaces (`has`, `list`, ...).
std::optional<Type> ResultType(Function function, absl::Span<const Type> types);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_OVERLOADS_H_
