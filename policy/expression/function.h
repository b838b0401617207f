// Operators and functions of the language.

#ifndef CALLGATE_POLICY_EXPRESSION_FUNCTION_H_
#define CALLGATE_POLICY_EXPRESSION_FUNCTION_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace callgate::policy::expression {

enum class Function : uint8_t {
  kNone,
  kNot,
  kNegate,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kIndex,
  kSize,
  kStartsWith,
  kEndsWith,
  kContains,
  kMatches,
  kBitAnd,
  kBitOr,
  kSegments,
  // Gone after the types are checked.
  kDyn,
  kDuration,
  kIp,
  kNamedList,
  kHas,
};

// `==`, `size()`: as a message names it.
absl::string_view FunctionName(Function function);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_FUNCTION_H_
