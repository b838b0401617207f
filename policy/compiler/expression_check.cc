#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/call_facts.h"
#include "policy/compiler/sections.h"
#include "policy/event_facts.h"
#include "policy/expression/expression.h"
#include "policy/rule_parts.h"

namespace callgate::policy {
namespace {

constexpr size_t kArgumentFactsMax = 1024;

// Checks rules about one kind of event; nothing: calls of imports.
class RuleChecker {
 public:
  RuleChecker(std::optional<InnerEvent> event, Compilation& c)
      : c_(c), event_(event) {
    const Vocabulary& words = c.content().vocabulary;
    if (event) {
      DeclareEventFacts(*event, words.arguments, nullptr, nullptr, &schema_);
    } else {
      DeclareCallFacts(nullptr, &schema_);
      for (const std::string& fact : words.arguments) {
        DeclareMissingArgument(fact, &schema_);
      }
    }
    DeclareLists(words, &schema_);
    AddMacros(words, schema_, &macros_, &c.problems());
  }
  RuleChecker(const RuleChecker&) = delete;
  RuleChecker& operator=(const RuleChecker&) = delete;

  void Check(const Rule& rule) const {
    Check(rule.when, expression::Type(expression::TypeKind::kBool));
    for (const MessagePart& part : rule.message_parts) {
      Check(part.value, std::nullopt);
    }
    for (const RuleException& exception : rule.exceptions) {
      Condition condition;
      condition.path = exception.path;
      condition.file = exception.file;
      condition.position = exception.position;
      std::string why;
      const auto source = SourceOfException(exception, schema_, &why);
      if (!source) {
        c_.problems().push_back(AtCondition(condition, why));
        continue;
      }
      condition.source = *source;
      Check(condition, expression::Type(expression::TypeKind::kBool));
    }
  }

 private:
  void Check(const Condition& condition,
             std::optional<expression::Type> type) const {
    if (condition.empty()) return;
    expression::CompileOptions options;
    options.type = type;
    options.macros = &macros_;
    // Of a growth everything is known; functions and imports come with a
    // module.
    const std::vector<expression::Problem> problems =
        event_ && IsGrowth(*event_)
            ? expression::Compile(condition.source, schema_, options).problems
            : expression::CheckTypes(condition.source, schema_, options);
    for (const expression::Problem& problem : problems) {
      c_.problems().push_back(
          AtCondition(condition, problem.ToString(condition.source)));
    }
  }

  Compilation& c_;
  const std::optional<InnerEvent> event_;
  expression::Schema schema_;
  expression::MacroSet macros_;
};

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
  std::vector<std::optional<InnerEvent>> events(c.content().rules.size());
  for (const uint32_t rule : c.content().memory_grow_rules) {
    events[rule] = InnerEvent::kMemoryGrow;
  }
  for (const uint32_t rule : c.content().table_grow_rules) {
    events[rule] = InnerEvent::kTableGrow;
  }
  for (const FunctionRule& about : c.content().function_rules) {
    events[about.rule] = InnerEvent::kFunction;
  }
  const RuleChecker calls(std::nullopt, c);
  // Of macros that are wrong everywhere one word is enough.
  std::vector<Problem> said = std::move(c.problems());
  c.problems().clear();
  const RuleChecker memory_growth(InnerEvent::kMemoryGrow, c);
  const RuleChecker table_growth(InnerEvent::kTableGrow, c);
  const RuleChecker functions(InnerEvent::kFunction, c);
  c.problems() = std::move(said);
  for (size_t i = 0; i < events.size(); ++i) {
    const RuleChecker& checker =
        !events[i]                              ? calls
        : *events[i] == InnerEvent::kMemoryGrow ? memory_growth
        : *events[i] == InnerEvent::kTableGrow  ? table_growth
                                                : functions;
    checker.Check(c.content().rules[i]);
  }
}
}  // namespace callgate::policy
