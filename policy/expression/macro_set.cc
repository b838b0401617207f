#include "policy/expression/macro_set.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "policy/expression/checker.h"
#include "policy/expression/parser.h"
#include "policy/expression/reserved_words.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

bool IsWord(absl::string_view name) {
  if (name.empty() ||
      absl::ascii_isdigit(static_cast<unsigned char>(name.front()))) {
    return false;
  }
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
  });
}

// Copies a tree node by node, children first, into a new one.
class Copy {
 public:
  Copy(const Limits& limits, ProblemList* problems)
      : limits_(limits), problems_(problems) {}

  bool failed() const { return failed_; }

  // Appends `node` with these children, which are in the copy already.
  NodeId Append(Node node, const std::vector<NodeId>& children) {
    if (made_.nodes.size() >= limits_.nodes_max) {
      return Fail(
          node.at,
          absl::StrCat("too large with its macros; at most ", limits_.nodes_max,
                       " names, values and operators are allowed"));
    }
    int depth = 1;
    node.first_child = static_cast<uint32_t>(made_.children.size());
    node.child_count = static_cast<uint32_t>(children.size());
    for (const NodeId child : children) {
      made_.children.push_back(child);
      depth = std::max(depth, 1 + made_.nodes[child].depth);
    }
    if (depth > limits_.depth_max) {
      return Fail(node.at,
                  absl::StrCat("nested too deeply with its macros; at most ",
                               limits_.depth_max, " levels are allowed"));
    }
    node.depth = static_cast<uint16_t>(depth);
    // Views of the original's texts become views of the copy's.
    made_.texts.emplace_back(node.text);
    node.text = made_.texts.back();
    const ValueKind kind = node.literal.kind();
    if (kind == ValueKind::kString || kind == ValueKind::kBytes) {
      made_.texts.emplace_back(node.literal.as_string());
      node.literal = kind == ValueKind::kString
                         ? Value::String(made_.texts.back())
                         : Value::Bytes(made_.texts.back());
    }
    made_.nodes.push_back(node);
    return static_cast<NodeId>(made_.nodes.size() - 1);
  }

  // Appends a whole macro, at the place of its use.
  NodeId AppendMacro(const Ast& macro, uint32_t at) {
    // Nodes stand after their children, so one pass renumbers them.
    std::vector<NodeId> numbers(macro.nodes.size());
    for (NodeId id = 0; id < macro.nodes.size() && !failed_; ++id) {
      std::vector<NodeId> children;
      for (const NodeId child : macro.children_of(id)) {
        children.push_back(numbers[child]);
      }
      Node node = macro.nodes[id];
      node.at = at;
      numbers[id] = Append(node, children);
    }
    return numbers[macro.root];
  }

  Ast Take(NodeId root) {
    made_.root = root;
    return std::move(made_);
  }

 private:
  NodeId Fail(uint32_t at, std::string message) {
    if (!failed_) problems_->Add(at, std::move(message));
    failed_ = true;
    return 0;
  }

  const Limits& limits_;
  ProblemList* const problems_;
  Ast made_;
  bool failed_ = false;
};

// For Walk: copies, and asks `Replace` about names.
template <typename Replace>
class Copier {
 public:
  Copier(const Ast& ast, Copy* copy, Replace replace)
      : ast_(ast),
        copy_(copy),
        replace_(std::move(replace)),
        numbers_(ast.nodes.size()) {}

  bool Stopped() const { return copy_->failed(); }

  bool Enter(NodeId id) {
    if (const std::optional<NodeId> replaced = replace_(id, variables_)) {
      numbers_[id] = *replaced;
      return false;
    }
    return true;
  }

  bool Before(NodeId id, uint32_t i) {
    const Node& node = ast_.at(id);
    if (node.kind == NodeKind::kQuantifier && i == 1) {
      variables_.push_back(node.text);
    }
    return true;
  }

  void After(NodeId id, uint32_t i) {
    if (ast_.at(id).kind == NodeKind::kQuantifier && i == 1) {
      variables_.pop_back();
    }
  }

  void Leave(NodeId id) {
    std::vector<NodeId> children;
    for (const NodeId child : ast_.children_of(id)) {
      children.push_back(numbers_[child]);
    }
    numbers_[id] = copy_->Append(ast_.at(id), children);
  }

  NodeId NumberOf(NodeId id) const { return numbers_[id]; }

 private:
  const Ast& ast_;
  Copy* const copy_;
  Replace replace_;
  std::vector<NodeId> numbers_;
  std::vector<absl::string_view> variables_;
};

template <typename Replace>
std::optional<Ast> CopyWith(const Ast& ast, Copy* copy, Replace replace) {
  Copier<Replace> copier(ast, copy, std::move(replace));
  Walk(ast, ast.root, &copier);
  if (copy->failed()) return std::nullopt;
  return copy->Take(copier.NumberOf(ast.root));
}

}  // namespace

std::optional<Ast> MacroSet::Expand(const Ast& ast, const Limits& limits,
                                    ProblemList* problems) const {
  Copy copy(limits, problems);
  return CopyWith(
      ast, &copy,
      [&](NodeId id, const std::vector<absl::string_view>& variables)
          -> std::optional<NodeId> {
        const Node& node = ast.at(id);
        if (node.kind != NodeKind::kName || node.is_absolute) {
          return std::nullopt;
        }
        const auto macro = macros_.find(node.text);
        if (macro == macros_.end() ||
            std::find(variables.begin(), variables.end(), node.text) !=
                variables.end()) {
          return std::nullopt;
        }
        return copy.AppendMacro(macro->second, node.at);
      });
}

std::vector<Problem> MacroSet::Add(absl::string_view name,
                                   absl::string_view source,
                                   const Schema& schema, const Limits& limits) {
  ProblemList problems(source, limits.problems_max);
  if (!IsWord(name) || IsLiteralWord(name) || IsReservedWord(name)) {
    problems.Add(0, absl::StrCat(Quote(name),
                                 " is no name for a macro; write "
                                 "letters, digits and _"));
  } else if (macros_.find(name) != macros_.end()) {
    problems.Add(0, absl::StrCat("macro ", Quote(name), " is there already"));
  } else if (schema.FindSlot(name).has_value() || schema.IsGroup(name) ||
             name == "math") {
    problems.Add(0, absl::StrCat(Quote(name), " has a meaning already"));
  } else if (macros_.size() >= kMacrosMax) {
    problems.Add(0,
                 absl::StrCat("at most ", kMacrosMax, " macros are allowed"));
  }
  if (!problems.empty()) return problems.Take();
  const std::optional<Ast> parsed = Parse(source, limits, &problems);
  if (!parsed.has_value()) return problems.Take();
  const std::optional<Ast> ast = Expand(*parsed, limits, &problems);
  if (!ast.has_value()) return problems.Take();
  const std::optional<Checked> checked =
      Check(*ast, schema, std::nullopt, &problems);
  if (!checked.has_value()) return problems.Take();

  // Facts get their complete names, which no variable can be taken for.
  Copy copy(limits, &problems);
  std::optional<Ast> complete = CopyWith(
      *ast, &copy,
      [&](NodeId id,
          const std::vector<absl::string_view>&) -> std::optional<NodeId> {
        const std::optional<uint32_t>& fact = checked->nodes[id].fact;
        if (!fact.has_value()) return std::nullopt;
        Node node = ast->at(id);
        node.kind = NodeKind::kName;
        node.is_absolute = true;
        node.text = schema.facts()[*fact].name;
        return copy.Append(node, {});
      });
  if (!complete.has_value()) return problems.Take();
  macros_.emplace(std::string(name), *std::move(complete));
  return {};
}

}  // namespace callgate::policy::expression
