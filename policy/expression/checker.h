// Finds what each name is and what type each node has.
//
// Every mistake of type is found here, so that an evaluation fails only for
// its values: overflow, an index, an absent fact, a `dyn` of the wrong kind.

#ifndef CALLGATE_POLICY_EXPRESSION_CHECKER_H_
#define CALLGATE_POLICY_EXPRESSION_CHECKER_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/expression/ast.h"
#include "policy/expression/function.h"
#include "policy/expression/problem.h"
#include "policy/expression/schema.h"
#include "policy/expression/type.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

enum class Meaning : uint8_t {
  kPlain,      // an operation on the children
  kConstant,   // `constant`
  kFact,       // slot
  kVariable,   // of the quantifier node `slot`
  kHas,        // whether fact `slot` is there
  kNamedList,  // `list`
};

struct NodeInfo {
  Type type;
  Meaning meaning = Meaning::kPlain;
  Function function = Function::kNone;  // of a kCall
  // The first child is a namespace such as `math` and no value.
  bool target_is_namespace = false;
  uint32_t slot = 0;
  // Of a node that names a fact, and of the one that has() asks about.
  std::optional<uint32_t> fact;
  const Schema::NamedList* list = nullptr;
  // The constant pattern of `matches`.
  std::shared_ptr<const PatternList> pattern;
  Value constant;
};

// For each node of the tree. Lists are the schema's.
struct Checked {
  std::vector<NodeInfo> nodes;
  // What constants are views of.
  std::deque<std::string> texts;
};

// Nothing if there were problems; then they are in `problems`. `wanted`: the
// type that the whole must have.
std::optional<Checked> Check(const Ast& ast, const Schema& schema,
                             std::optional<Type> wanted, ProblemList* problems);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_CHECKER_H_
