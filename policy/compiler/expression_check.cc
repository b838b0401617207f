// Names, types and syntax. What depends on an import is found when a module
// brings one.
//
// What an expression names also decides when its rule is judged: results are
// known after the host function has run, and whether a call is denied when
// everything else has been judged.

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/call_facts.h"
#include "policy/compiler/rule_parts.h"
#include "policy/compiler/sections.h"
#include "policy/event_facts.h"
#include "policy/expression/expression.h"
#include "policy/import_name.h"
#include "policy/quote.h"
#include "policy/state/facts_record.h"

namespace callgate::policy {
namespace {

using expression::Schema;
using expression::Type;
using expression::TypeKind;
using Pattern = TemporalRule::Pattern;

constexpr size_t kArgumentFactsMax = 1024;
// Of one temporal rule, by several names.
constexpr size_t kPastFactsMax = 64;
// Steps of all evaluations of one rule's conditions at one call, if they are
// evaluated for each of several past events.
constexpr uint64_t kLateCostMax = 4'000'000;

// Names, types, syntax, and the cost that the expression has with the smallest
// facts, which is `smallest`. With the facts of an import it may be more; that
// is found when a module brings one. `type` becomes that of the value, as far
// as it is known.
std::vector<expression::Problem> CheckExpression(
    absl::string_view source, const Schema& schema, const Schema& smallest,
    const expression::CompileOptions& options,
    expression::NamedFacts* named = nullptr, Type* type = nullptr) {
  std::vector<expression::Problem> problems =
      expression::CheckTypes(source, schema, options, named);
  if (!problems.empty()) return problems;
  expression::CompileResult compiled =
      expression::Compile(source, smallest, options);
  if (compiled.ok() && type != nullptr) *type = compiled.program->type();
  return std::move(compiled.problems);
}

// Checks rules about what happens inside the guest.
class EventRuleChecker {
 public:
  EventRuleChecker(InnerEvent event, Compilation& c) : c_(c), event_(event) {
    const Vocabulary& words = c.content().vocabulary;
    DeclareEventFacts(event, words.arguments, nullptr, nullptr, &schema_);
    DeclareLists(words, &schema_);
    // What is wrong with a macro is said by those who check calls.
    std::vector<Problem> said;
    AddMacros(words, schema_, &macros_, &said);
  }
  EventRuleChecker(const EventRuleChecker&) = delete;
  EventRuleChecker& operator=(const EventRuleChecker&) = delete;

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
        IsGrowth(event_)
            ? expression::Compile(condition.source, schema_, options).problems
            : CheckExpression(condition.source, schema_,
                              schema_.WithSmallestFacts(), options);
    for (const expression::Problem& problem : problems) {
      c_.problems().push_back(
          AtCondition(condition, problem.ToString(condition.source)));
    }
  }

  Compilation& c_;
  const InnerEvent event_;
  expression::Schema schema_;
  expression::MacroSet macros_;
};

class ExpressionChecker {
 public:
  explicit ExpressionChecker(Compilation& c)
      : c_(c), content_(c.content()), words_(content_.vocabulary) {}

  void Run() {
    Gather();
    if (words_.arguments.size() > kArgumentFactsMax) {
      c_.Report(
          c_.root(), "",
          absl::StrCat("expressions name ", words_.arguments.size(),
                       " facts of arguments; at most ", kArgumentFactsMax));
      return;
    }
    DeclareCallFacts(nullptr, &schema_);
    for (const std::string& fact : words_.arguments) {
      DeclareUnknownArgument(fact, &schema_);
    }
    DeclareLists(words_, &schema_);
    AddMacros(words_, schema_, &macros_, &c_.problems());
    std::vector<const EventRuleChecker*> events(content_.rules.size());
    const EventRuleChecker memory_growth(InnerEvent::kMemoryGrow, c_);
    const EventRuleChecker table_growth(InnerEvent::kTableGrow, c_);
    const EventRuleChecker functions(InnerEvent::kFunction, c_);
    for (const uint32_t rule : content_.memory_grow_rules) {
      events[rule] = &memory_growth;
    }
    for (const uint32_t rule : content_.table_grow_rules) {
      events[rule] = &table_growth;
    }
    for (const FunctionRule& about : content_.function_rules) {
      events[about.rule] = &functions;
    }
    for (size_t i = 0; i < events.size(); ++i) {
      if (events[i] != nullptr) {
        events[i]->Check(content_.rules[i]);
      } else {
        CheckPlain(content_.rules[i]);
      }
    }
    for (RateLimit& limit : content_.rate_limits) CheckLimit(limit);
    for (TemporalRule& rule : content_.temporal) CheckTemporal(rule);
  }

 private:
  // What an expression names of what is not known from the start.
  struct Named {
    bool result = false;
    bool denied = false;
    bool edge = false;
    // Of the value; dyn where it depends on the import.
    Type type = Type(TypeKind::kDyn);
    // Beyond the facts of a call: those of other events, from 0.
    std::vector<uint32_t> others;
    std::vector<uint32_t> others_asked;

    void Add(const Named& more) {
      result = result || more.result;
      denied = denied || more.denied;
      edge = edge || more.edge;
    }
  };

  // --- which arguments are named at all ---

  void Gather() {
    for (const Macro& macro : words_.macros) Find(macro.when);
    for (const Rule& rule : content_.rules) FindIn(rule);
    for (const RateLimit& limit : content_.rate_limits) {
      FindIn(limit.rule);
      Find(limit.cost);
      for (const Condition& fact : limit.key) Find(fact);
    }
    for (const TemporalRule& rule : content_.temporal) {
      FindIn(rule.rule);
      for (const auto* steps : {&rule.steps, &rule.unless}) {
        for (const TemporalRule::Step& step : *steps) Find(step.when);
      }
      if (rule.formerly) Find(rule.formerly->when);
      Find(rule.value);
      for (const Condition& fact : rule.key) Find(fact);
    }
  }
  void Find(const Condition& condition) {
    FindArgumentFacts(condition.source, &words_.arguments);
  }
  void FindIn(const Rule& rule) {
    Find(rule.when);
    for (const MessagePart& part : rule.message_parts) Find(part.value);
    for (const RuleException& exception : rule.exceptions) {
      for (const auto& terms : exception.alternatives) {
        for (const RuleException::Term& term : terms) {
          FindArgumentFacts(term.field, &words_.arguments);
        }
      }
    }
  }

  // --- expressions ---

  void Report(const Condition& condition, absl::string_view message) {
    c_.problems().push_back(AtCondition(condition, std::string(message)));
  }

  Named Check(const Condition& condition, std::optional<Type> type,
              const Schema& schema) {
    Named named;
    if (condition.empty()) return named;
    expression::CompileOptions options;
    options.type = type;
    options.macros = &macros_;
    expression::NamedFacts facts;
    const bool is_own = &schema == &schema_;
    if (is_own && smallest_.facts().size() != schema_.facts().size()) {
      smallest_ = schema_.WithSmallestFacts();
    }
    for (const expression::Problem& problem :
         CheckExpression(condition.source, schema,
                         is_own ? smallest_ : schema.WithSmallestFacts(),
                         options, &facts, &named.type)) {
      Report(condition, problem.ToString(condition.source));
    }
    for (const expression::NamedFacts::Compared& compared : facts.compared) {
      if (compared.slot == SlotOf(CallFact::kImport)) {
        WarnOfImport(condition, compared.text);
      }
    }
    const auto own = static_cast<uint32_t>(schema_.facts().size());
    for (const auto* slots : {&facts.read, &facts.asked}) {
      for (const uint32_t slot : *slots) {
        if (slot >= own) {
          (slots == &facts.read ? named.others : named.others_asked)
              .push_back(slot - own);
          continue;
        }
        named.denied = named.denied || slot == SlotOf(CallFact::kDenied);
        named.edge = named.edge || slot == SlotOf(CallFact::kEdge);
        named.result = named.result ||
                       absl::StartsWith(schema_.facts()[slot].name, "result.");
      }
    }
    return named;
  }
  Named Check(const Condition& condition, TypeKind type) {
    return Check(condition, Type(type), schema_);
  }

  void RefuseDenied(const Condition& condition, const Named& named) {
    if (!named.denied) return;
    Report(condition,
           "call.denied is known too late for this; count, distinct and sum "
           "may ask for it, and steps with `attempts: true`");
  }

  void WantType(const Condition& condition, Type type,
                std::initializer_list<TypeKind> kinds, absl::string_view what) {
    if (type.is_dyn()) return;
    for (const TypeKind kind : kinds) {
      if (type.Is(kind)) return;
    }
    Report(condition,
           absl::StrCat(what, ", and this is of type ", type.ToString()));
  }

  // `call.import` has one form of each import.
  void WarnOfImport(const Condition& condition, const std::string& text) {
    const absl::StatusOr<ImportName> import = ParseImportName(text);
    const std::string form =
        import.ok() ? FormatImportName(import->module, import->name) : "";
    if (form == text || !told_imports_.insert(text).second) return;
    c_.warnings().push_back(AtCondition(
        condition,
        absl::StrCat("call.import is never ", Quote(text),
                     import.ok()
                         ? absl::StrCat("; that import is ", Quote(form))
                         : "; it is a module's name, a dot and a function's")));
  }

  void WarnOfEdge(const Condition& condition, const Named& named) {
    if (!named.edge || named.result) return;
    c_.warnings().push_back(AtCondition(
        condition,
        "call.edge is always \"calling\" here; what shall be judged when the "
        "call returns names result.*"));
  }

  void RefuseDenyAfter(const Rule& rule, const Condition& condition) {
    if (!rule.runs_after || rule.verdict != Verdict::kDeny) return;
    Report(condition,
           "reads result.*, which is known when the call has had its effect: "
           "it cannot be denied then; use log, alert, throttle, trap, "
           "kill_store or quarantine_module");
  }

  // Message and exceptions of a rule whose `runs_after` is known. Whether they
  // ask for call.denied.
  bool CheckRest(const Rule& rule, const Schema& schema, bool may_ask_denied) {
    bool denied = false;
    const auto judge = [&](const Condition& condition, const Named& named) {
      denied = denied || named.denied;
      if (!may_ask_denied) RefuseDenied(condition, named);
      if (named.result && !rule.runs_after) {
        Report(condition,
               "names result.*, but the rule is judged before the call");
      }
    };
    for (const MessagePart& part : rule.message_parts) {
      judge(part.value, Check(part.value, std::nullopt, schema));
    }
    for (const RuleException& exception : rule.exceptions) {
      Condition condition;
      condition.path = exception.path;
      condition.file = exception.file;
      condition.position = exception.position;
      std::string why;
      const auto source = SourceOfException(exception, schema_, &why);
      if (!source) {
        Report(condition, why);
        continue;
      }
      condition.source = *source;
      judge(condition, Check(condition, Type(TypeKind::kBool), schema_));
    }
    return denied;
  }

  Named CheckKey(const std::vector<Condition>& key) {
    Named named;
    for (const Condition& fact : key) {
      const std::optional<uint32_t> slot = schema_.FindSlot(fact.source);
      if (!slot) {
        Report(fact, absl::StrCat("there is no fact ", Quote(fact.source)));
        continue;
      }
      named.Add(Check(fact, std::nullopt, schema_));
    }
    return named;
  }

  // --- rules ---

  void CheckPlain(Rule& rule) {
    const Named named = Check(rule.when, TypeKind::kBool);
    RefuseDenied(rule.when, named);
    WarnOfEdge(rule.when, named);
    rule.runs_after = named.result;
    if (named.result && rule.verdict == Verdict::kAllow) {
      Report(rule.when,
             "reads result.*, which is known when the call has had its effect; "
             "what allows it decides before");
    }
    RefuseDenyAfter(rule, rule.when);
    CheckRest(rule, schema_, false);
  }

  void CheckLimit(RateLimit& limit) {
    Named named = Check(limit.rule.when, TypeKind::kBool);
    const Named cost = Check(limit.cost, std::nullopt, schema_);
    WantType(limit.cost, cost.type,
             {TypeKind::kInt, TypeKind::kUint, TypeKind::kDouble},
             "a cost is a number");
    named.Add(cost);
    named.Add(CheckKey(limit.key));
    RefuseDenied(limit.rule.when, named);
    WarnOfEdge(limit.rule.when, named);
    limit.rule.runs_after = named.result;
    RefuseDenyAfter(limit.rule, limit.rule.when);
    CheckRest(limit.rule, schema_, false);
  }

  void CheckTemporal(TemporalRule& rule) {
    switch (rule.pattern) {
      case Pattern::kSequence:
        CheckSequence(rule);
        return;
      case Pattern::kRequire:
        CheckRequire(rule);
        return;
      case Pattern::kCount:
      case Pattern::kDistinct:
      case Pattern::kSum:
        CheckWindow(rule);
        return;
    }
  }

  void CheckWindow(TemporalRule& rule) {
    Named named = Check(rule.rule.when, TypeKind::kBool);
    const Named value = Check(rule.value, std::nullopt, schema_);
    if (rule.pattern == Pattern::kSum) {
      WantType(rule.value, value.type, {TypeKind::kInt, TypeKind::kUint},
               "what is added up is int or uint");
    } else if (value.type.is_list()) {
      Report(rule.value, absl::StrCat("what is compared is no list, and this "
                                      "is of type ",
                                      value.type.ToString()));
    }
    named.Add(value);
    named.Add(CheckKey(rule.key));
    WarnOfEdge(rule.rule.when, named);
    rule.rule.runs_after = named.result;
    RefuseDenyAfter(rule.rule, rule.rule.when);
    if (named.result && rule.count_in_flight) {
      Report(rule.rule.when,
             "reads result.*, and what a call in flight comes to is not known; "
             "leave count_in_flight out");
    }
    rule.reads_denied = CheckRest(rule.rule, schema_, true) || named.denied;
  }

  // A schema with the facts of the rule's steps that its sources may mean.
  Schema DeclareSteps(TemporalRule& rule) {
    Schema schema = schema_;
    for (uint32_t i = 0; i < rule.steps.size(); ++i) {
      const std::string& as = rule.steps[i].as;
      if (as.empty()) continue;
      std::vector<std::string> facts;
      for (const auto* steps : {&rule.steps, &rule.unless}) {
        for (const TemporalRule::Step& step : *steps) {
          FindFactsOf(as, step.when.source, &facts);
        }
      }
      for (const MessagePart& part : rule.rule.message_parts) {
        FindFactsOf(as, part.value.source, &facts);
      }
      for (const std::string& fact : facts) {
        if (rule.past.size() == kPastFactsMax) {
          Report(rule.steps[i].when,
                 absl::StrCat("more than ", kPastFactsMax,
                              " facts of steps are named in one rule"));
          return schema;
        }
        const std::string name = absl::StrCat(as, ".", fact);
        // Two steps of one name are a problem already.
        if (schema.FindSlot(name)) continue;
        DeclareFactOf(name, fact, FactsRecord::kTextBytesMax, &schema);
        rule.past.push_back({i, fact});
      }
    }
    return schema;
  }

  void CheckSequence(TemporalRule& rule) {
    const Schema schema = DeclareSteps(rule);
    const auto check = [&](TemporalRule::Step& step, uint32_t known) {
      const Named named = Check(step.when, Type(TypeKind::kBool), schema);
      if (!step.attempts) RefuseDenied(step.when, named);
      WarnOfEdge(step.when, named);
      step.runs_after = named.result;
      for (const auto* others : {&named.others, &named.others_asked}) {
        for (const uint32_t other : *others) {
          const uint32_t of = rule.past[other].step;
          if (of > known) {
            Report(step.when, absl::StrCat(rule.steps[of].as,
                                           " comes later in the sequence"));
          }
          step.reads_past = step.reads_past || of != known;
        }
      }
    };
    const auto last = static_cast<uint32_t>(rule.steps.size()) - 1;
    for (uint32_t i = 0; i <= last; ++i) check(rule.steps[i], i);
    for (TemporalRule::Step& step : rule.unless) {
      // It may come after any but the last.
      check(step, last);
    }
    const auto reads_past = [](const TemporalRule::Step& s) {
      return s.reads_past;
    };
    rule.state.is_correlated =
        std::any_of(rule.steps.begin(), rule.steps.end(), reads_past) ||
        std::any_of(rule.unless.begin(), rule.unless.end(), reads_past);
    rule.rule.runs_after = rule.steps[last].runs_after;
    RefuseDenyAfter(rule.rule, rule.steps[last].when);
    CheckRest(rule.rule, schema, rule.steps[last].attempts);
  }

  void CheckRequire(TemporalRule& rule) {
    const Named named = Check(rule.rule.when, TypeKind::kBool);
    RefuseDenied(rule.rule.when, named);
    WarnOfEdge(rule.rule.when, named);
    rule.rule.runs_after = named.result;
    RefuseDenyAfter(rule.rule, rule.rule.when);
    CheckRest(rule.rule, schema_, false);

    TemporalRule::Step& formerly = *rule.formerly;
    std::vector<std::string> current;
    FindFactsOf("current", formerly.when.source, &current);
    Schema schema = schema_;
    for (const std::string& fact : current) {
      DeclareFactOf(absl::StrCat("current.", fact), fact, kPathFactBytesMax,
                    &schema);
    }
    const Named past = Check(formerly.when, Type(TypeKind::kBool), schema);
    if (!formerly.attempts) RefuseDenied(formerly.when, past);
    WarnOfEdge(formerly.when, past);
    formerly.runs_after = past.result;
    if (!past.others_asked.empty()) {
      Report(formerly.when,
             "has() of a current fact is not known when the earlier call "
             "happens; ask in require.when");
    }
    formerly.reads_past = !past.others.empty();
    for (const uint32_t other : past.others) {
      const absl::string_view fact = current[other];
      if (absl::StartsWith(fact, "result.") && !rule.rule.runs_after) {
        Report(formerly.when,
               absl::StrCat("names current.", fact,
                            ", but the rule is judged before the call"));
      }
    }
    if (!formerly.reads_past || !c_.problems().empty()) return;
    MakeLate(rule, current, schema);
  }

  void MakeLate(TemporalRule& rule, const std::vector<std::string>& current,
                const Schema& schema) {
    const Condition& when = rule.formerly->when;
    expression::CompileOptions options;
    options.type = Type(TypeKind::kBool);
    options.macros = &macros_;
    options.limits.cost_max = kLateCostMax / rule.state.records_max;
    expression::CompileResult compiled =
        expression::Compile(when.source, schema, options);
    for (const expression::Problem& problem : compiled.problems) {
      Report(when, problem.ToString(when.source));
    }
    if (!compiled.ok()) return;
    rule.late = std::make_shared<const expression::Program>(
        *std::move(compiled.program));
    rule.late_facts = schema.facts().size();
    std::vector<uint32_t> slots = rule.late->slots_read();
    std::sort(slots.begin(), slots.end());
    const auto own = static_cast<uint32_t>(schema_.facts().size());
    for (const uint32_t slot : slots) {
      if (slot < own) {
        rule.late_past.push_back({slot, schema.facts()[slot].name});
      } else {
        rule.late_current.push_back({slot, current[slot - own]});
      }
    }
    if (rule.late_past.size() > kPastFactsMax) {
      Report(when, absl::StrCat("names more than ", kPastFactsMax, " facts"));
    }
  }

  Compilation& c_;
  PolicyContent& content_;
  Vocabulary& words_;
  // Of a call of any import.
  Schema schema_;
  // The same with the smallest facts, once it is whole.
  Schema smallest_;
  std::set<std::string> told_imports_;
  expression::MacroSet macros_;
};

}  // namespace

void CheckExpressions(Compilation& c) { ExpressionChecker(c).Run(); }

}  // namespace callgate::policy
