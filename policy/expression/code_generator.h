// Makes instructions of a checked expression.
//
// Whatever depends on constants alone is computed here: operators are folded,
// a conditional loses the branch that is never taken, && and || the operands
// that cannot matter. A rule that is specialised for one import so loses what
// is about others, and only then must not read a fact that the import does not
// have. What would fail is left to fail at evaluation.

#ifndef CALLGATE_POLICY_EXPRESSION_CODE_GENERATOR_H_
#define CALLGATE_POLICY_EXPRESSION_CODE_GENERATOR_H_

#include <memory>

#include "policy/expression/ast.h"
#include "policy/expression/checker.h"
#include "policy/expression/code.h"
#include "policy/expression/limits.h"
#include "policy/expression/problem.h"
#include "policy/expression/schema.h"

namespace callgate::policy::expression {

// Null if there were problems; then they are in `problems`.
std::unique_ptr<Code> GenerateCode(const Ast& ast, const Checked& checked,
                                   const Schema& schema, const Limits& limits,
                                   ProblemList* problems);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_CODE_GENERATOR_H_
