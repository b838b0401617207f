// A slow evaluator of expressions that shares nothing with the fast one but the
// parser: it walks the tree with a stack, looks names up when it meets them,
// knows the kinds of values and no types, evaluates every operand, and computes
// in 128 bits. Tests compare the two.

#ifndef CALLGATE_POLICY_EXPRESSION_REFERENCE_EVALUATOR_H_
#define CALLGATE_POLICY_EXPRESSION_REFERENCE_EVALUATOR_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "policy/expression/ast.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

// Owns what it is made of.
struct ReferenceValue {
  ValueKind kind = ValueKind::kError;
  int64_t integer = 0;  // also bool, duration, timestamp
  uint64_t natural = 0;
  double real = 0;
  std::string text;
  std::vector<ReferenceValue> items;

  bool is_error() const { return kind == ValueKind::kError; }

  static ReferenceValue Error() { return ReferenceValue(); }
  static ReferenceValue Bool(bool v);
  static ReferenceValue From(const Value& value);
};

// Both errors, whichever, or the same kind and value. NaN is NaN.
bool SameOutcome(const ReferenceValue& a, const Value& b);

struct ReferenceWorld {
  // By name; absent facts are kAbsent.
  std::map<std::string, Value> facts;
  std::map<std::string, std::vector<std::string>> globs;
  std::map<std::string, std::vector<std::string>> networks;
  std::map<std::string, std::vector<std::string>> patterns;
};

// Of a tree that the checker has accepted.
ReferenceValue EvaluateSlowly(const Ast& ast, const ReferenceWorld& world);

// Whether a glob matches, by trying every way to divide the text.
bool GlobMatchesSlowly(const std::string& pattern, const std::string& text);
// Whether an address of 4 or 16 bytes is in "10.0.0.0/8", bit by bit.
bool InNetworkSlowly(const std::string& network, const std::string& address);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_REFERENCE_EVALUATOR_H_
