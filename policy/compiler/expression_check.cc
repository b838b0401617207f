#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/call_facts.h"
#include "policy/compiler/sections.h"
#include "policy/expression/expression.h"
#include "policy/rule_parts.h"

namespace callgate::policy {
namespace {

constexpr size_t kArgumentFactsMax = 1024;

}  // namespace

// Names, types and syntax. What depends on an import is found when a module
// brings one.
void CheckExpressions(Compilation& c) {
  Vocabulary& words = c.content().vocabulary;
  for (const Macro& macro : words.macros) {
    FindArgumentFacts(macro.when.source, &words.arguments);
  }
  for (const Rule& rule : c.content().rules) {
    FindArgumentFacts(rule.when.source, &words.arguments);
    for (const MessagePart& part : rule.message_parts) {
      FindArgumentFacts(part.value.source, &words.arguments);
    }
    for (const RuleException& exception : rule.exceptions) {
      for (const auto& terms : exception.alternatives) {
        for (const RuleException::Term& term : terms) {
          FindArgumentFacts(term.field, &words.arguments);
        }
      }
    }
  }
  if (words.arguments.size() > kArgumentFactsMax) {
    c.Report(c.root(), "",
             absl::StrCat("expressions name ", words.arguments.size(),
                          " facts of arguments; at most ", kArgumentFactsMax));
    return;
  }
  expression::Schema schema;
  DeclareCallFacts(nullptr, &schema);
  for (const std::string& fact : words.arguments) {
    DeclareMissingArgument(fact, &schema);
  }
  DeclareLists(words, &schema);
  expression::MacroSet macros;
  AddMacros(words, schema, &macros, &c.problems());
  const auto check = [&](const Condition& condition,
                         std::optional<expression::Type> type) {
    if (condition.empty()) return;
    expression::CompileOptions options;
    options.type = type;
    options.macros = &macros;
    for (const expression::Problem& problem :
         expression::CheckTypes(condition.source, schema, options)) {
      c.problems().push_back(
          AtCondition(condition, problem.ToString(condition.source)));
    }
  };
  for (const Rule& rule : c.content().rules) {
    check(rule.when, expression::Type(expression::TypeKind::kBool));
    for (const MessagePart& part : rule.message_parts) {
      check(part.value, std::nullopt);
    }
    for (const RuleException& exception : rule.exceptions) {
      Condition condition;
      condition.path = exception.path;
      condition.file = exception.file;
      condition.position = exception.position;
      std::string why;
      const auto source = SourceOfException(exception, schema, &why);
      if (!source) {
        c.problems().push_back(AtCondition(condition, why));
        continue;
      }
      condition.source = *source;
      check(condition, expression::Type(expression::TypeKind::kBool));
    }
  }
}
}  // namespace callgate::policy
