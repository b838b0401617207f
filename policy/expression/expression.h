// Expressions of policies: a strict subset of CEL, typed and total.
//
// An expression is compiled against a schema of facts, once, when a policy is
// loaded; that finds every mistake of name and type, folds what is constant,
// and bounds the steps of an evaluation. Evaluating takes an array of facts,
// allocates nothing and always ends. A value or an error comes out; which of
// the two and which value depends on the facts alone.
//
// The subset: literals of null, bool, int, uint, double, string, bytes and
// lists; arithmetic with errors for overflow; comparisons; && and ||, which
// absorb an error if another operand decides; ! and the conditional; `in`;
// indexing; size, startsWith, endsWith, contains, matches; math.bitAnd and
// math.bitOr; exists, all and exists_one; has; dyn; duration("30s"). Beyond
// CEL: `x in list("name")` of globs and networks and x.matches(list("name"));
// ip("10.0.0.1"); path.segments(), what lies between the slashes. What CEL has
// and this has not (maps, messages, conversions, map and filter, ...) is
// refused by name.
//
// A Program is immutable; any thread may use it, each with a Scratch of its
// own.

#ifndef CALLGATE_POLICY_EXPRESSION_EXPRESSION_H_
#define CALLGATE_POLICY_EXPRESSION_EXPRESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/expression/limits.h"
#include "policy/expression/macro_set.h"
#include "policy/expression/problem.h"
#include "policy/expression/schema.h"
#include "policy/expression/scratch.h"
#include "policy/expression/type.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

struct Code;

// Gives facts that are declared kLazy, when an instruction asks for them; twice
// if two instructions do, so an answer that may change is kept by whoever
// answers. It must not use the scratch of the evaluation.
class LazyFacts {
 public:
  virtual ~LazyFacts() = default;
  virtual Value Compute(uint32_t slot) = 0;
};

struct Evaluation {
  // An error, or a value of the program's type.
  Value value;
  // What it took; never more than Program::cost().
  uint64_t steps = 0;

  bool ok() const { return !value.is_error(); }
};

class Program {
 public:
  explicit Program(std::unique_ptr<const Code> code);
  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;
  ~Program();

  // `facts` are values by slot. A fact that the program reads has to be there
  // and of its kind, or it is an error; the elements of a list are taken to be
  // what their type says. Views in them must live as long as the result.
  // `lazy` may be null if no lazy fact is read.
  Evaluation Evaluate(absl::Span<const Value> facts, Scratch* scratch,
                      LazyFacts* lazy = nullptr) const;

  Type type() const;
  // Bound on the steps of one evaluation; see cost.h.
  uint64_t cost() const;
  // The value, if it is the same for all facts: a rule that is false for an
  // import need not be kept.
  std::optional<Value> constant() const;
  // Slots that an evaluation may read, without duplicates.
  std::vector<uint32_t> slots_read() const;
  size_t instruction_count() const;
  // About what it takes, lists that the policy shares not counted.
  size_t memory_bytes() const;

  // `1:8: division by zero`, with the line and a caret below it.
  std::string Describe(const Value& error) const;

 private:
  std::unique_ptr<const Code> code_;
};

// Either a program or at least one problem.
struct CompileResult {
  std::optional<Program> program;
  std::vector<Problem> problems;

  bool ok() const { return program.has_value(); }
};

struct CompileOptions {
  Limits limits;
  // The type that the expression must have: bool for a condition.
  std::optional<Type> type;
  // May be null.
  const MacroSet* macros = nullptr;
};

// The program keeps what it needs of schema and source.
CompileResult Compile(absl::string_view source, const Schema& schema,
                      const CompileOptions& options = {});

// The facts that an expression names, macros followed, by slot. One may be
// there several times.
struct NamedFacts {
  // A text that a fact is compared with, by ==, != or `in` with a list.
  struct Compared {
    uint32_t slot;
    std::string text;
  };

  std::vector<uint32_t> read;
  std::vector<uint32_t> asked;  // by has()
  std::vector<Compared> compared;
};

// What can be said before everything is known: names, types and syntax, but not
// whether a fact that is never there is read, and not what it costs. `named`
// may be null; where there are problems, it is not complete.
std::vector<Problem> CheckTypes(absl::string_view source, const Schema& schema,
                                const CompileOptions& options = {},
                                NamedFacts* named = nullptr);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_EXPRESSION_H_
