#include "policy/event_facts.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "policy/call_facts.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

using expression::Fact;
using expression::Presence;
using expression::Schema;
using expression::Type;
using expression::TypeKind;
using expression::Value;

uint32_t Declare(absl::string_view name, Type type, Presence presence,
                 Schema* schema, const std::string* constant = nullptr) {
  Fact fact;
  fact.name = std::string(name);
  fact.type = type;
  fact.presence = presence;
  if (constant != nullptr) fact.constant = Value::String(*constant);
  const auto slot = schema->Declare(std::move(fact));
  CALLGATE_CHECK(slot.ok(), "names of facts are declared once");
  return *slot;
}

std::optional<Type> TypeOfParameter(ValType type) {
  switch (type) {
    case ValType::kI32:
    case ValType::kI64:
      return Type(TypeKind::kInt);
    case ValType::kF32:
    case ValType::kF64:
      return Type(TypeKind::kDouble);
    default:
      return std::nullopt;
  }
}

}  // namespace

absl::string_view InnerEventName(InnerEvent event) {
  switch (event) {
    case InnerEvent::kMemoryGrow:
      return "memory_grow";
    case InnerEvent::kTableGrow:
      return "table_grow";
    case InnerEvent::kFunction:
      return "function";
  }
  return "unknown";
}

std::optional<uint32_t> ParameterOf(absl::string_view fact) {
  uint32_t parameter = 0;
  if (!absl::ConsumePrefix(&fact, "args.p") || fact.empty() ||
      fact.size() > 4 || (fact[0] == '0' && fact.size() > 1) ||
      !absl::SimpleAtoi(fact, &parameter)) {
    return std::nullopt;
  }
  return parameter;
}

std::vector<ParameterFact> DeclareEventFacts(
    InnerEvent event, absl::Span<const std::string> arguments,
    const FuncType* type, const std::string* name, Schema* schema) {
  const auto declare = [schema](absl::string_view fact, TypeKind kind,
                                Presence presence = Presence::kAlways,
                                const std::string* constant = nullptr) {
    Declare(fact, kind, presence, schema, constant);
  };
  // In the order of EventFact.
  declare("store.id", TypeKind::kString);
  declare("store.calls", TypeKind::kInt);
  declare("store.memory_bytes", TypeKind::kInt);
  declare("store.fuel_used", TypeKind::kInt);
  declare("tenant", TypeKind::kString);
  declare("module.digest", TypeKind::kString);
  declare("module.name", TypeKind::kString);
  declare("now", TypeKind::kTimestamp, Presence::kLazy);
  if (IsGrowth(event)) {
    declare("grow.from", TypeKind::kInt);
    declare("grow.to", TypeKind::kInt);
    declare("grow.requested", TypeKind::kInt);
    declare("grow.index", TypeKind::kInt);
    declare("grow.allowed", TypeKind::kBool);
  } else {
    declare("call.func_index", TypeKind::kInt);
    declare("call.name", TypeKind::kString, Presence::kAlways, name);
    declare("call.site", TypeKind::kInt, Presence::kLazy);
    declare("call.caller", TypeKind::kString, Presence::kLazy);
    declare("call.depth", TypeKind::kInt);
  }
  std::vector<ParameterFact> parameters;
  for (const std::string& argument : arguments) {
    const std::optional<uint32_t> parameter = ParameterOf(argument);
    if (parameter && type == nullptr && !IsGrowth(event)) {
      // Of some function; which types it has is not known yet.
      DeclareUnknownArgument(argument, schema);
      continue;
    }
    std::optional<Type> value;
    if (parameter && type != nullptr && *parameter < type->params.size()) {
      value = TypeOfParameter(type->params[*parameter]);
    }
    if (!value) {
      DeclareMissingArgument(argument, schema);
      continue;
    }
    parameters.push_back({Declare(argument, *value, Presence::kAlways, schema),
                          *parameter, type->params[*parameter]});
  }
  Schema calls;
  DeclareCallFacts(nullptr, &calls);
  for (const Fact& fact : calls.facts()) {
    if (schema->FindSlot(fact.name)) continue;
    Declare(fact.name, TypeKind::kDyn, Presence::kNever, schema);
  }
  return parameters;
}

}  // namespace callgate::policy
