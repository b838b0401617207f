#include "policy/expression/function.h"

namespace callgate::policy::expression {

absl::string_view FunctionName(Function function) {
  switch (function) {
    case Function::kNone:
      return "?";
    case Function::kNot:
      return "!";
    case Function::kNegate:
    case Function::kSubtract:
      return "-";
    case Function::kAdd:
      return "+";
    case Function::kMultiply:
      return "*";
    case Function::kDivide:
      return "/";
    case Function::kModulo:
      return "%";
    case Function::kEqual:
      return "==";
    case Function::kNotEqual:
      return "!=";
    case Function::kLess:
      return "<";
    case Function::kLessEqual:
      return "<=";
    case Function::kGreater:
      return ">";
    case Function::kGreaterEqual:
      return ">=";
    case Function::kIn:
      return "in";
    case Function::kIndex:
      return "[]";
    case Function::kSize:
      return "size";
    case Function::kStartsWith:
      return "startsWith";
    case Function::kEndsWith:
      return "endsWith";
    case Function::kContains:
      return "contains";
    case Function::kMatches:
      return "matches";
    case Function::kBitAnd:
      return "math.bitAnd";
    case Function::kBitOr:
      return "math.bitOr";
    case Function::kSegments:
      return "segments";
    case Function::kDyn:
      return "dyn";
    case Function::kDuration:
      return "duration";
    case Function::kIp:
      return "ip";
    case Function::kNamedList:
      return "list";
    case Function::kHas:
      return "has";
  }
  return "?";
}

}  // namespace callgate::policy::expression
