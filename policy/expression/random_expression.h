// Random well-typed expressions, and facts for them.

#ifndef CALLGATE_POLICY_EXPRESSION_RANDOM_EXPRESSION_H_
#define CALLGATE_POLICY_EXPRESSION_RANDOM_EXPRESSION_H_

#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "policy/expression/reference_evaluator.h"
#include "policy/expression/schema.h"
#include "policy/expression/type.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

// The facts that random expressions are about, like those of a call.
class TestWorld {
 public:
  explicit TestWorld(uint32_t seed);

  // With `constants`, the facts that are always there have the values of the
  // last Shuffle.
  Schema MakeSchema(bool constants) const;

  // Other values, some of them absent.
  void Shuffle();

  const std::vector<Value>& values() const { return values_; }
  ReferenceWorld reference() const;

 private:
  std::string RandomText(size_t bytes_max);
  Value RandomValue(Type type);

  std::vector<Fact> facts_;
  std::vector<Value> values_;
  std::deque<std::string> texts_;
  std::deque<std::vector<Value>> lists_;
  std::mt19937 random_;
};

// Of the type, over the facts of a TestWorld. Operators nest at most `depth`
// deep.
std::string RandomExpression(Type type, int depth, std::mt19937* random);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_RANDOM_EXPRESSION_H_
