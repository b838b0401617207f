// Runs code.

#ifndef CALLGATE_POLICY_EXPRESSION_EVALUATOR_H_
#define CALLGATE_POLICY_EXPRESSION_EVALUATOR_H_

#include "absl/types/span.h"
#include "policy/expression/code.h"
#include "policy/expression/expression.h"
#include "policy/expression/scratch.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

// See Program::Evaluate.
Evaluation Run(const Code& code, absl::Span<const Value> facts,
               Scratch* scratch, LazyFacts* lazy);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_EVALUATOR_H_
