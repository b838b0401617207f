// Sizes of what an expression computes with, and what its calls cost at most.

#ifndef CALLGATE_POLICY_EXPRESSION_CALL_COST_H_
#define CALLGATE_POLICY_EXPRESSION_CALL_COST_H_

#include <cstdint>

#include "policy/expression/cost.h"
#include "policy/expression/function.h"
#include "policy/expression/schema.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

SizeBound SizeOf(const Value& constant);
// What the schema promises.
SizeBound SizeOf(const Fact& fact);
// Of what a function gives for arguments of these sizes.
SizeBound SizeOfCall(Function function, const SizeBound& a, const SizeBound& b);

// Steps of a function beyond the one that every instruction costs.
uint64_t CostOfCall(Function function, const SizeBound& a, const SizeBound& b);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_CALL_COST_H_
