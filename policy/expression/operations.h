// What operators do to values of any kind. The evaluator has instructions of
// its own for the frequent ones whose types are known; they mean the same.
//
// An operation that fails returns an error value without a place.

#ifndef CALLGATE_POLICY_EXPRESSION_OPERATIONS_H_
#define CALLGATE_POLICY_EXPRESSION_OPERATIONS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "policy/expression/function.h"
#include "policy/expression/glob_list.h"
#include "policy/expression/ip_address.h"
#include "policy/expression/pattern_list.h"
#include "policy/expression/scratch.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

// Where an operation makes strings and lists, and counts what it costs.
struct Work {
  Arena* arena;
  uint64_t steps;
};

// Lists within lists that Equal follows; values nest no deeper, since a literal
// nests as its expression and a fact as its type.
inline constexpr int kNestingMax = 256;

// Numbers of different kinds are equal if they are as doubles, or exactly where
// neither is one; NaN equals nothing.
bool Equal(const Value& a, const Value& b, Work* work);

// `b` is ignored by functions of one argument.
Value Apply(Function function, const Value& a, const Value& b, Work* work);

Value MakeList(const Value* items, uint32_t count, Work* work);

Value InGlobs(const Value& text, const GlobList& list, Work* work);
Value InNetworks(const Value& address, const CidrList& list, Work* work);
Value FoundIn(const Value& text, const PatternList& list, Work* work);

// Characters; each byte that is no part of one counts as one.
int64_t CountCharacters(absl::string_view text);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_OPERATIONS_H_
