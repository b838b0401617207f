#include "policy/hook/event_judge.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/call_facts.h"
#include "policy/expression/macro_set.h"
#include "policy/hook/rule_message.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

using expression::CompileOptions;
using expression::Evaluation;
using expression::Presence;
using expression::Program;
using expression::Schema;
using expression::Type;
using expression::TypeKind;
using expression::Value;

Value Int(uint64_t number) {
  return Value::Int(static_cast<int64_t>(
      std::min<uint64_t>(number, std::numeric_limits<int64_t>::max())));
}

// Compiles the rules of one policy for one kind of event.
class RuleMaker {
 public:
  RuleMaker(const Policy& policy, const Schema& schema,
            const expression::MacroSet& macros, std::string where,
            std::vector<Problem>* problems)
      : policy_(policy),
        schema_(schema),
        macros_(macros),
        where_(std::move(where)),
        problems_(problems) {}

  // Nothing if the rule cannot hold.
  std::optional<SpecialisedRule> Make(uint32_t index) {
    const Rule& rule = policy_.rules()[index];
    SpecialisedRule made;
    made.rule = index;
    if (!rule.when.empty()) {
      made.when = Compile(rule.when, Type(TypeKind::kBool));
      if (!made.when) return std::nullopt;
      const std::optional<Value> constant = made.when->constant();
      if (constant && !constant->is_error() && !constant->as_bool()) {
        return std::nullopt;
      }
    }
    for (const RuleException& exception : rule.exceptions) {
      AddException(exception, &made);
    }
    for (const MessagePart& part : rule.message_parts) {
      SpecialisedMessage::Part out;
      out.text = part.text;
      out.raw = part.raw;
      if (!part.value.empty()) out.value = Compile(part.value, std::nullopt);
      made.message.parts.push_back(std::move(out));
    }
    return made;
  }

 private:
  std::optional<Program> Compile(const Condition& condition,
                                 std::optional<Type> type) {
    CompileOptions options;
    options.type = type;
    options.macros = &macros_;
    expression::CompileResult compiled =
        expression::Compile(condition.source, schema_, options);
    for (const expression::Problem& problem : compiled.problems) {
      problems_->push_back(AtCondition(
          condition, absl::StrCat("for ", where_, ": ",
                                  problem.ToString(condition.source))));
    }
    return std::move(compiled.program);
  }

  void AddException(const RuleException& exception, SpecialisedRule* made) {
    Condition condition;
    condition.path = exception.path;
    condition.file = exception.file;
    condition.position = exception.position;
    std::string why;
    const auto source = SourceOfException(exception, schema_, &why);
    if (!source) {
      problems_->push_back(
          AtCondition(condition, absl::StrCat("for ", where_, ": ", why)));
      return;
    }
    condition.source = *source;
    // A fact that is never there cannot be of an excepted value.
    for (const auto& terms : exception.alternatives) {
      for (const RuleException::Term& term : terms) {
        const std::optional<uint32_t> slot = schema_.FindSlot(term.field);
        if (slot && schema_.facts()[*slot].presence == Presence::kNever) return;
      }
    }
    if (auto holds = Compile(condition, Type(TypeKind::kBool))) {
      made->exceptions.push_back({&exception, *std::move(holds)});
    }
  }

  const Policy& policy_;
  const Schema& schema_;
  const expression::MacroSet& macros_;
  const std::string where_;
  std::vector<Problem>* const problems_;
};

}  // namespace

absl::Time EventMoment::Now() {
  if (!now_) now_ = wall_clock_();
  return *now_;
}

Value EventMoment::Compute(uint32_t slot) {
  if (slot == static_cast<uint32_t>(EventFact::kNow)) {
    return Value::Timestamp(absl::ToUnixNanos(Now()));
  }
  if (entry_ == nullptr) return Value();
  if (slot == static_cast<uint32_t>(EventFact::kSite)) {
    const uint32_t index = entry_->caller().func_index;
    return Value::Int(index == kNoIndex ? -1 : static_cast<int64_t>(index));
  }
  if (slot == static_cast<uint32_t>(EventFact::kCaller)) {
    return Value::String(entry_->caller().func_name);
  }
  return Value();
}

EventJudge::EventJudge(const Policy& policy, InnerEvent event,
                       absl::Span<const uint32_t> rules,
                       const ProbedFunction* function,
                       std::vector<Problem>* problems)
    : event_(event) {
  const std::string name =
      function == nullptr ? "" : std::string(function->name);
  Schema schema;
  parameters_ =
      DeclareEventFacts(event, policy.vocabulary().arguments,
                        function == nullptr ? nullptr : function->type,
                        function == nullptr ? nullptr : &name, &schema);
  DeclareLists(policy.vocabulary(), &schema);
  expression::MacroSet macros;
  AddMacros(policy.vocabulary(), schema, &macros, problems);
  facts_.resize(schema.facts().size());
  RuleMaker maker(policy, schema, macros,
                  function == nullptr
                      ? std::string(InnerEventName(event))
                      : absl::StrCat("function ", function->func_index, " ",
                                     Quote(function->name)),
                  problems);
  for (const uint32_t rule : rules) {
    if (auto made = maker.Make(rule)) rules_.push_back(*std::move(made));
  }
}

void EventJudge::Begin(const EventMoment& moment) {
  const auto set = [this](EventFact fact, Value value) {
    facts_[static_cast<uint32_t>(fact)] = value;
  };
  set(EventFact::kStoreId, Value::String(moment.store().store_id));
  set(EventFact::kStoreCalls, Int(moment.numbers().calls));
  set(EventFact::kStoreMemoryBytes, Int(moment.numbers().memory_bytes));
  set(EventFact::kStoreFuelUsed, Int(moment.numbers().fuel_used));
  set(EventFact::kTenant, Value::String(moment.store().tenant));
  set(EventFact::kModuleDigest, Value::String(moment.store().module_digest));
  set(EventFact::kModuleName, Value::String(moment.store().module_name));
  set(EventFact::kNow, Value::Lazy());
  if (IsGrowth(event_)) {
    const GrowthEvent& growth = *moment.growth();
    set(EventFact::kGrowFrom, Int(growth.current));
    set(EventFact::kGrowTo, Int(growth.desired));
    set(EventFact::kGrowRequested, Int(growth.desired - growth.current));
    set(EventFact::kGrowIndex, Int(growth.index));
    set(EventFact::kGrowAllowed, Value::Bool(growth.allowed));
    return;
  }
  const FunctionEntry& entry = *moment.entry();
  set(EventFact::kFuncIndex, Int(entry.function.func_index));
  set(EventFact::kName, Value::String(entry.function.name));
  set(EventFact::kSite, Value::Lazy());
  set(EventFact::kCaller, Value::Lazy());
  set(EventFact::kDepth, Int(entry.depth));
  for (const ParameterFact& parameter : parameters_) {
    const RawValue raw = entry.args[parameter.parameter];
    Value& value = facts_[parameter.slot];
    switch (parameter.type) {
      case ValType::kI32:
        value = Value::Int(static_cast<int32_t>(raw.u32()));
        break;
      case ValType::kI64:
        value = Value::Int(static_cast<int64_t>(raw.u64()));
        break;
      case ValType::kF32:
        value = Value::Double(static_cast<double>(raw.f32()));
        break;
      default:
        value = Value::Double(raw.f64());
        break;
    }
  }
}

EventJudge::Outcome EventJudge::Judge(const SpecialisedRule& rule,
                                      EventMoment& moment,
                                      expression::Scratch* scratch) const {
  Outcome outcome;
  outcome.answer = Answer::kYes;
  if (rule.when) {
    const Evaluation holds = rule.when->Evaluate(facts_, scratch, &moment);
    if (holds.ok() && !holds.value.as_bool()) {
      outcome.answer = Answer::kNo;
      return outcome;
    }
    if (!holds.ok()) {
      outcome.answer = Answer::kFailed;
      outcome.error = holds.value;
    }
  }
  for (const SpecialisedException& exception : rule.exceptions) {
    if (moment.Now() >= exception.exception->expires) continue;
    // One that fails is not known to hold.
    const Evaluation holds = exception.holds.Evaluate(facts_, scratch, &moment);
    if (holds.ok() && holds.value.as_bool()) {
      outcome.answer = Answer::kNo;
      outcome.exception = exception.exception;
      return outcome;
    }
  }
  return outcome;
}

void EventJudge::DescribeParameters(std::vector<FactText>* facts) const {
  for (const ParameterFact& parameter : parameters_) {
    const std::string name = absl::StrCat("args.p", parameter.parameter);
    const bool known =
        std::any_of(facts->begin(), facts->end(),
                    [&](const FactText& fact) { return fact.name == name; });
    if (!known) facts->push_back({name, facts_[parameter.slot].ToString()});
  }
}

void DescribeEvent(EventMoment& moment, std::vector<FactText>* facts) {
  const auto add = [facts](absl::string_view name, std::string text) {
    facts->push_back({std::string(name), std::move(text)});
  };
  const auto lazy = [&moment](EventFact fact) {
    return moment.Compute(static_cast<uint32_t>(fact)).ToString();
  };
  if (const GrowthEvent* growth = moment.growth(); growth != nullptr) {
    add("grow.index", absl::StrCat(growth->index));
    add("grow.from", absl::StrCat(growth->current));
    add("grow.to", absl::StrCat(growth->desired));
    add("grow.requested", absl::StrCat(growth->desired - growth->current));
    add("grow.allowed", growth->allowed ? "true" : "false");
  }
  if (const FunctionEntry* entry = moment.entry(); entry != nullptr) {
    add("call.name", Quote(entry->function.name));
    add("call.func_index", absl::StrCat(entry->function.func_index));
    add("call.site", lazy(EventFact::kSite));
    add("call.caller", lazy(EventFact::kCaller));
    add("call.depth", absl::StrCat(entry->depth));
  }
  const StoreFacts& store = moment.store();
  add("store.id", Quote(store.store_id));
  add("store.calls", absl::StrCat(moment.numbers().calls));
  add("store.memory_bytes", absl::StrCat(moment.numbers().memory_bytes));
  add("store.fuel_used", absl::StrCat(moment.numbers().fuel_used));
  add("tenant", Quote(store.tenant));
  add("module.digest", Quote(store.module_digest));
  add("module.name", Quote(store.module_name));
  add("now", lazy(EventFact::kNow));
}

std::string EventJudge::MessageOf(const SpecialisedRule& rule,
                                  EventMoment& moment,
                                  expression::Scratch* scratch) const {
  return RuleMessage(rule.message, facts_, scratch, &moment);
}

}  // namespace callgate::policy
