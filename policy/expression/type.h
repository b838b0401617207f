// The types of expressions: a scalar, or lists of one, nested to a small depth.
//
// `dyn` is a value whose type is known only when it is evaluated: what dyn(x)
// gives, and the elements of a list that mixes types. An operator that meets
// one checks its kind then, and an unfitting kind is an evaluation error.

#ifndef CALLGATE_POLICY_EXPRESSION_TYPE_H_
#define CALLGATE_POLICY_EXPRESSION_TYPE_H_

#include <cstdint>
#include <string>

namespace callgate::policy::expression {

enum class TypeKind : uint8_t {
  kNull,
  kBool,
  kInt,
  kUint,
  kDouble,
  kString,
  kBytes,
  kDuration,   // nanoseconds, signed
  kTimestamp,  // nanoseconds since 1970, signed
  kIp,         // four or sixteen bytes
  kDyn,
  // Named lists of the policy file. They are no values: an expression can ask
  // whether something is in one, and nothing else.
  kGlobList,
  kCidrList,
  kPatternList,
};

// A value type; copy it.
class Type {
 public:
  // Deeper nesting is refused.
  static constexpr int kListDepthMax = 16;

  constexpr Type() = default;
  // Converts: TypeKind::kInt is the type int.
  constexpr Type(TypeKind kind)  // NOLINT(google-explicit-constructor)
      : kind_(kind) {}

  static constexpr Type List(Type element) {
    Type list = element;
    ++list.list_depth_;
    return list;
  }

  // Of the innermost element.
  constexpr TypeKind kind() const { return kind_; }
  constexpr int list_depth() const { return list_depth_; }
  constexpr bool is_list() const { return list_depth_ > 0; }
  constexpr bool Is(TypeKind kind) const {
    return list_depth_ == 0 && kind_ == kind;
  }
  constexpr bool is_dyn() const { return Is(TypeKind::kDyn); }
  constexpr bool is_named_list() const {
    return kind_ == TypeKind::kGlobList || kind_ == TypeKind::kCidrList ||
           kind_ == TypeKind::kPatternList;
  }
  // Of a list.
  constexpr Type element() const {
    Type element = *this;
    --element.list_depth_;
    return element;
  }

  // "list<string>"
  std::string ToString() const;

  friend constexpr bool operator==(Type a, Type b) {
    return a.kind_ == b.kind_ && a.list_depth_ == b.list_depth_;
  }
  friend constexpr bool operator!=(Type a, Type b) { return !(a == b); }

 private:
  TypeKind kind_ = TypeKind::kNull;
  uint8_t list_depth_ = 0;
};

// Whether values of the two may be compared, or stand in one list without
// making it mixed: the same type, or one of them dynamic where they differ.
bool Agree(Type a, Type b);

// What a place that holds either is: `dyn` from where on the two differ, as in
// list<dyn> for a list of ints and one of strings.
Type Join(Type a, Type b);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_TYPE_H_
