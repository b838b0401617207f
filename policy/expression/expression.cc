#include "policy/expression/expression.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/expression/ast.h"
#include "policy/expression/checker.h"
#include "policy/expression/code.h"
#include "policy/expression/code_generator.h"
#include "policy/expression/evaluator.h"
#include "policy/expression/operations.h"
#include "policy/expression/parser.h"
#include "runtime/check.h"

namespace callgate::policy::expression {

namespace {

void AddNamed(const Ast& ast, const Checked& checked, NamedFacts* named) {
  std::vector<bool> is_asked(ast.nodes.size(), false);
  for (NodeId id = 0; id < ast.nodes.size(); ++id) {
    if (ast.at(id).kind != NodeKind::kCall ||
        checked.nodes[id].function != Function::kHas) {
      continue;
    }
    for (const NodeId child : ast.children_of(id)) is_asked[child] = true;
  }
  for (NodeId id = 0; id < ast.nodes.size(); ++id) {
    const std::optional<uint32_t> fact = checked.nodes[id].fact;
    if (fact) (is_asked[id] ? named->asked : named->read).push_back(*fact);
  }
  const auto add_text = [&](uint32_t slot, NodeId id) {
    const Node& node = ast.at(id);
    if (node.kind == NodeKind::kLiteral &&
        node.literal.kind() == ValueKind::kString) {
      named->compared.push_back({slot, std::string(node.literal.as_string())});
    }
  };
  for (NodeId id = 0; id < ast.nodes.size(); ++id) {
    if (ast.at(id).kind != NodeKind::kCall || ast.at(id).child_count != 2) {
      continue;
    }
    const NodeId a = ast.child(id, 0);
    const NodeId b = ast.child(id, 1);
    switch (checked.nodes[id].function) {
      case Function::kEqual:
      case Function::kNotEqual:
        if (checked.nodes[a].fact) add_text(*checked.nodes[a].fact, b);
        if (checked.nodes[b].fact) add_text(*checked.nodes[b].fact, a);
        break;
      case Function::kIn:
        if (!checked.nodes[a].fact || ast.at(b).kind != NodeKind::kList) break;
        for (const NodeId item : ast.children_of(b)) {
          add_text(*checked.nodes[a].fact, item);
        }
        break;
      default:
        break;
    }
  }
}

}  // namespace

Program::Program(std::unique_ptr<const Code> code) : code_(std::move(code)) {}
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

Evaluation Program::Evaluate(absl::Span<const Value> facts, Scratch* scratch,
                             LazyFacts* lazy) const {
  return Run(*code_, facts, scratch, lazy);
}

Type Program::type() const { return code_->type; }
uint64_t Program::cost() const { return code_->cost; }
std::optional<Value> Program::constant() const { return code_->constant; }
size_t Program::instruction_count() const { return code_->instructions.size(); }

size_t Program::memory_bytes() const {
  size_t bytes = sizeof(Code) + code_->source.capacity() +
                 code_->instructions.capacity() * sizeof(Instruction) +
                 code_->places.capacity() * sizeof(uint32_t) +
                 code_->constants.capacity() * sizeof(Value) +
                 code_->handlers.capacity() * sizeof(Handler) +
                 code_->reads.capacity() * sizeof(FactRead);
  for (const std::string& text : code_->texts) {
    bytes += sizeof(text) + text.capacity();
  }
  for (const std::vector<Value>& list : code_->lists) {
    bytes += sizeof(list) + list.capacity() * sizeof(Value);
  }
  return bytes;
}

std::vector<uint32_t> Program::slots_read() const {
  std::vector<uint32_t> slots;
  for (const FactRead& read : code_->reads) slots.push_back(read.slot);
  return slots;
}

std::string Program::Describe(const Value& error) const {
  CALLGATE_CHECK(error.is_error(), "only errors are described");
  const uint32_t at = error.error_at();
  const uint32_t offset = at < code_->places.size() ? code_->places[at] : 0;
  const Position position = PositionAt(code_->source, offset);
  Problem problem;
  problem.line = position.line;
  problem.column = position.column;
  problem.message = std::string(ErrorText(error.error()));
  return problem.ToString(code_->source);
}

CompileResult Compile(absl::string_view source, const Schema& schema,
                      const CompileOptions& options) {
  CALLGATE_CHECK(
      options.limits.depth_max > 0 &&
          options.limits.depth_max + Type::kListDepthMax < kNestingMax,
      "values nest no deeper than Equal follows");
  CALLGATE_CHECK(options.limits.problems_max > 0, "a problem has to show");
  CompileResult result;
  ProblemList problems(source, options.limits.problems_max);
  std::optional<Ast> ast = Parse(source, options.limits, &problems);
  if (ast.has_value() && options.macros != nullptr &&
      !options.macros->empty()) {
    ast = options.macros->Expand(*ast, options.limits, &problems);
  }
  if (ast.has_value()) {
    const std::optional<Checked> checked =
        Check(*ast, schema, options.type, &problems);
    if (checked.has_value()) {
      std::unique_ptr<Code> code =
          GenerateCode(*ast, *checked, schema, options.limits, &problems);
      if (code != nullptr) {
        code->source = std::string(source);
        result.program.emplace(std::move(code));
      }
    }
  }
  result.problems = problems.Take();
  CALLGATE_CHECK(result.ok() == result.problems.empty(),
                 "a program or problems, not both");
  return result;
}

std::vector<Problem> CheckTypes(absl::string_view source, const Schema& schema,
                                const CompileOptions& options,
                                NamedFacts* named) {
  ProblemList problems(source, options.limits.problems_max);
  std::optional<Ast> ast = Parse(source, options.limits, &problems);
  if (ast.has_value() && options.macros != nullptr &&
      !options.macros->empty()) {
    ast = options.macros->Expand(*ast, options.limits, &problems);
  }
  if (ast.has_value()) {
    const std::optional<Checked> checked =
        Check(*ast, schema, options.type, &problems);
    if (checked.has_value() && named != nullptr)
      AddNamed(*ast, *checked, named);
  }
  return problems.Take();
}

}  // namespace callgate::policy::expression
