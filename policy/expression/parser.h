// Parses an expression. What CEL has and this subset has not is refused as soon
// as it is seen, by name.
//
// Without recursion: operators and brackets that are open stand on a stack,
// whose size is bounded, as are the nodes and their depth.

#ifndef CALLGATE_POLICY_EXPRESSION_PARSER_H_
#define CALLGATE_POLICY_EXPRESSION_PARSER_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "policy/expression/ast.h"
#include "policy/expression/limits.h"
#include "policy/expression/problem.h"

namespace callgate::policy::expression {

// Nothing if there was a problem; then it is in `problems`.
std::optional<Ast> Parse(absl::string_view source, const Limits& limits,
                         ProblemList* problems);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_PARSER_H_
