// A parsed expression: nodes in an array, each after its children.

#ifndef CALLGATE_POLICY_EXPRESSION_AST_H_
#define CALLGATE_POLICY_EXPRESSION_AST_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/expression/function.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

enum class NodeKind : uint8_t {
  kLiteral,
  kName,    // `x`; with a leading dot if `is_absolute`
  kSelect,  // the child's field `text`
  kCall,    // an operator, or `text` as a function; a target is child 0
  kList,
  kAnd,  // two or more
  kOr,
  kConditional,  // condition, then, else
  kQuantifier,   // range and body; the variable is `text`
};

enum class Quantifier : uint8_t { kExists, kAll, kExistsOne };

using NodeId = uint32_t;

struct Node {
  NodeKind kind = NodeKind::kLiteral;
  // Of a kCall by an operator; kNone for one by name.
  Function function = Function::kNone;
  Quantifier quantifier = Quantifier::kExists;
  bool has_target = false;
  bool is_absolute = false;
  uint16_t depth = 1;
  uint32_t at = 0;  // offset in the source
  uint32_t first_child = 0;
  uint32_t child_count = 0;
  absl::string_view text;
  Value literal;
};

// Movable: strings stay where they are.
struct Ast {
  std::vector<Node> nodes;
  std::vector<NodeId> children;
  std::deque<std::string> texts;
  NodeId root = 0;

  const Node& at(NodeId id) const { return nodes[id]; }
  NodeId child(NodeId id, uint32_t i) const {
    return children[nodes[id].first_child + i];
  }
  absl::Span<const NodeId> children_of(NodeId id) const {
    return absl::MakeConstSpan(children).subspan(nodes[id].first_child,
                                                 nodes[id].child_count);
  }
};

// Walks a tree without recursion. The visitor has
//
//   bool Enter(NodeId)              whether to go into the node
//   bool Before(NodeId, uint32_t)   whether to visit this child
//   void After(NodeId, uint32_t)    called for children that were visited
//   void Leave(NodeId)              called for nodes that were gone into
//   bool Stopped()                  whether to end the walk
template <typename Visitor>
void Walk(const Ast& ast, NodeId root, Visitor* visitor) {
  struct Frame {
    NodeId node;
    uint32_t next_child;
  };
  std::vector<Frame> frames;
  if (visitor->Enter(root)) frames.push_back({root, 0});
  while (!frames.empty() && !visitor->Stopped()) {
    const NodeId node = frames.back().node;
    const uint32_t i = frames.back().next_child;
    if (i == ast.at(node).child_count) {
      frames.pop_back();
      visitor->Leave(node);
      if (!frames.empty()) {
        visitor->After(frames.back().node, frames.back().next_child - 1);
      }
      continue;
    }
    ++frames.back().next_child;
    if (!visitor->Before(node, i)) continue;
    const NodeId child = ast.child(node, i);
    if (visitor->Enter(child)) {
      frames.push_back({child, 0});
    } else {
      visitor->After(node, i);
    }
  }
}

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_AST_H_
