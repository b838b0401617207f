#include "policy/expression/overloads.h"

#include <initializer_list>

namespace callgate::policy::expression {
namespace {

using Kinds = std::initializer_list<TypeKind>;

bool IsOneOf(Type type, Kinds kinds) {
  for (const TypeKind kind : kinds) {
    if (type.Is(kind)) return true;
  }
  return false;
}

bool IsNumber(Type type) {
  return IsOneOf(type, {TypeKind::kInt, TypeKind::kUint, TypeKind::kDouble});
}

// Two of the same type out of `kinds`, or a dynamic one with one of them.
std::optional<Type> SameOf(Type a, Type b, Kinds kinds) {
  const bool a_fits = a.is_dyn() || IsOneOf(a, kinds);
  const bool b_fits = b.is_dyn() || IsOneOf(b, kinds);
  if (!a_fits || !b_fits) return std::nullopt;
  if (a.is_dyn() || b.is_dyn()) return Type(TypeKind::kDyn);
  if (a != b) return std::nullopt;
  return a;
}

std::optional<Type> When(bool condition, Type type) {
  if (!condition) return std::nullopt;
  return type;
}

std::optional<Type> AddType(Type a, Type b) {
  if (a.is_list() && b.is_list()) return When(Agree(a, b), Join(a, b));
  if ((a.is_list() && b.is_dyn()) || (a.is_dyn() && b.is_list())) {
    return Type(TypeKind::kDyn);
  }
  if (a.Is(TypeKind::kTimestamp) && b.Is(TypeKind::kDuration)) return a;
  if (a.Is(TypeKind::kDuration) && b.Is(TypeKind::kTimestamp)) return b;
  if (a.is_dyn() && b.Is(TypeKind::kTimestamp)) return a;
  if (a.Is(TypeKind::kTimestamp) && b.is_dyn()) return b;
  return SameOf(a, b,
                {TypeKind::kInt, TypeKind::kUint, TypeKind::kDouble,
                 TypeKind::kString, TypeKind::kBytes, TypeKind::kDuration});
}

std::optional<Type> SubtractType(Type a, Type b) {
  if (a.Is(TypeKind::kTimestamp) && b.Is(TypeKind::kTimestamp)) {
    return Type(TypeKind::kDuration);
  }
  if (a.Is(TypeKind::kTimestamp) && b.Is(TypeKind::kDuration)) return a;
  if (a.Is(TypeKind::kTimestamp) && b.is_dyn()) return b;
  if (a.is_dyn() && b.Is(TypeKind::kTimestamp)) return a;
  return SameOf(a, b,
                {TypeKind::kInt, TypeKind::kUint, TypeKind::kDouble,
                 TypeKind::kDuration});
}

bool Ordered(Type a, Type b) {
  if (IsNumber(a) && IsNumber(b)) return true;
  return SameOf(a, b,
                {TypeKind::kBool, TypeKind::kInt, TypeKind::kUint,
                 TypeKind::kDouble, TypeKind::kString, TypeKind::kBytes,
                 TypeKind::kDuration, TypeKind::kTimestamp})
      .has_value();
}

bool IsIn(Type needle, Type haystack) {
  switch (haystack.kind()) {
    case TypeKind::kGlobList:
      return needle.is_dyn() || needle.Is(TypeKind::kString);
    case TypeKind::kCidrList:
      return needle.is_dyn() ||
             IsOneOf(needle, {TypeKind::kIp, TypeKind::kString});
    case TypeKind::kPatternList:
      return false;
    default:
      break;
  }
  if (haystack.is_dyn()) return !needle.is_named_list();
  return haystack.is_list() && Agree(needle, haystack.element());
}

std::optional<Type> IndexType(Type list, Type index) {
  if (!index.is_dyn() && !index.Is(TypeKind::kInt)) return std::nullopt;
  if (list.is_dyn()) return list;
  return When(list.is_list(), list.is_list() ? list.element() : list);
}

}  // namespace

std::optional<Type> ResultType(Function function,
                               absl::Span<const Type> types) {
  const Type a = types[0];
  const Type b = types.size() > 1 ? types[1] : Type();
  switch (function) {
    case Function::kNot:
      return When(a.is_dyn() || a.Is(TypeKind::kBool), TypeKind::kBool);
    case Function::kNegate:
      return When(a.is_dyn() || IsOneOf(a, {TypeKind::kInt, TypeKind::kDouble}),
                  a);
    case Function::kAdd:
      return AddType(a, b);
    case Function::kSubtract:
      return SubtractType(a, b);
    case Function::kMultiply:
    case Function::kDivide:
      return SameOf(a, b, {TypeKind::kInt, TypeKind::kUint, TypeKind::kDouble});
    case Function::kModulo:
    case Function::kBitAnd:
    case Function::kBitOr:
      return SameOf(a, b, {TypeKind::kInt, TypeKind::kUint});
    case Function::kEqual:
    case Function::kNotEqual:
      return When(Agree(a, b) && !a.is_named_list() && !b.is_named_list(),
                  TypeKind::kBool);
    case Function::kLess:
    case Function::kLessEqual:
    case Function::kGreater:
    case Function::kGreaterEqual:
      return When(Ordered(a, b), TypeKind::kBool);
    case Function::kIn:
      return When(IsIn(a, b), TypeKind::kBool);
    case Function::kIndex:
      return IndexType(a, b);
    case Function::kSize:
      return When(a.is_dyn() || a.is_list() ||
                      IsOneOf(a, {TypeKind::kString, TypeKind::kBytes}),
                  TypeKind::kInt);
    case Function::kStartsWith:
    case Function::kEndsWith:
    case Function::kContains:
      return When(
          SameOf(a, b, {TypeKind::kString, TypeKind::kBytes}).has_value(),
          TypeKind::kBool);
    case Function::kMatches:
      return When(
          (a.is_dyn() || IsOneOf(a, {TypeKind::kString, TypeKind::kBytes})) &&
              IsOneOf(b, {TypeKind::kString, TypeKind::kPatternList}),
          TypeKind::kBool);
    case Function::kSegments:
      return When(a.is_dyn() || a.Is(TypeKind::kString),
                  Type::List(TypeKind::kString));
    case Function::kDyn:
      return When(!a.is_named_list(), TypeKind::kDyn);
    case Function::kDuration:
      return When(a.Is(TypeKind::kDuration), a);
    case Function::kNone:
    case Function::kIp:
    case Function::kNamedList:
    case Function::kHas:
      break;
  }
  return std::nullopt;
}

}  // namespace callgate::policy::expression
