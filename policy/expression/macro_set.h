// Conditions with a name, which other conditions may use like a fact.
//
// A macro is inlined where it is named: its tree takes the name's place, with
// the name's position, so problems and errors point at the use. It may use the
// macros that were added before it and none of those to come, and so never
// itself. It means the same wherever it is used: its facts stay facts where a
// quantifier has a variable of that name. Where a variable has the name of a
// macro, the name is the variable.

#ifndef CALLGATE_POLICY_EXPRESSION_MACRO_SET_H_
#define CALLGATE_POLICY_EXPRESSION_MACRO_SET_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/expression/ast.h"
#include "policy/expression/limits.h"
#include "policy/expression/problem.h"
#include "policy/expression/schema.h"

namespace callgate::policy::expression {

class MacroSet {
 public:
  static constexpr size_t kMacrosMax = 1024;

  // Empty if it was added; otherwise what is wrong with the name or with the
  // source. It must compile alone: `schema` is that of the conditions that will
  // use it, though there facts may be missing or known that are not here.
  std::vector<Problem> Add(absl::string_view name, absl::string_view source,
                           const Schema& schema, const Limits& limits = {});

  // `ast` with the trees of macros in place of their names. Nothing if that
  // gets too large; then it is in `problems`.
  std::optional<Ast> Expand(const Ast& ast, const Limits& limits,
                            ProblemList* problems) const;

  bool empty() const { return macros_.empty(); }

 private:
  // Without names of macros; facts by their complete names.
  std::map<std::string, Ast, std::less<>> macros_;
};

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_MACRO_SET_H_
