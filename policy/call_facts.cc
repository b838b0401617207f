#include "policy/call_facts.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/expression/expression.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

using expression::Fact;
using expression::Presence;
using expression::Schema;
using expression::Type;
using expression::TypeKind;
using expression::Value;

constexpr absl::string_view kArgs = "args.";

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
}

std::optional<ArgumentPart> PartFromName(absl::string_view name) {
  if (name == "host") return ArgumentPart::kHost;
  if (name == "port") return ArgumentPart::kPort;
  if (name == "ip") return ArgumentPart::kIp;
  if (name == "path") return ArgumentPart::kPath;
  return std::nullopt;
}

void Declare(Fact fact, Schema* schema) {
  const auto slot = schema->Declare(std::move(fact));
  CALLGATE_CHECK(slot.ok(), "names of facts are checked before");
}

// A literal of CEL for any bytes.
std::string StringLiteral(absl::string_view text) {
  std::string literal = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == '"' || byte == '\\') {
      literal += '\\';
      literal += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppend(&literal, "\\x", absl::Hex(byte, absl::kZeroPad2));
    } else {
      literal += c;
    }
  }
  literal += '"';
  return literal;
}

}  // namespace

ArgumentFactName SplitArgumentFact(absl::string_view fact) {
  CALLGATE_CHECK(absl::StartsWith(fact, kArgs), "an argument's fact");
  fact.remove_prefix(kArgs.size());
  const size_t dot = fact.find('.');
  ArgumentFactName split;
  split.argument = std::string(fact.substr(0, dot));
  if (dot != absl::string_view::npos) {
    split.part = PartFromName(fact.substr(dot + 1)).value_or(split.part);
  }
  return split;
}

void FindArgumentFacts(absl::string_view source,
                       std::vector<std::string>* names) {
  const auto add = [names](absl::string_view name) {
    const auto at = std::lower_bound(names->begin(), names->end(), name);
    if (at != names->end() && *at == name) return;
    names->insert(at, std::string(name));
  };
  size_t at = 0;
  while ((at = source.find(kArgs, at)) != absl::string_view::npos) {
    const bool inside = at > 0 && IsWordByte(source[at - 1]);
    const size_t word = at + kArgs.size();
    size_t end = word;
    while (end < source.size() && IsWordByte(source[end])) ++end;
    if (inside || end == word ||
        absl::ascii_isdigit(static_cast<unsigned char>(source[word]))) {
      at = word;
      continue;
    }
    add(source.substr(at, end - at));
    if (end < source.size() && source[end] == '.') {
      size_t part_end = end + 1;
      while (part_end < source.size() && IsWordByte(source[part_end])) {
        ++part_end;
      }
      if (PartFromName(source.substr(end + 1, part_end - end - 1))) {
        add(source.substr(at, part_end - at));
      }
    }
    at = end;
  }
}

std::optional<Type> TypeOfArgument(const ArgSpec& arg, ArgumentPart part,
                                   bool is_64_bit) {
  switch (part) {
    case ArgumentPart::kValue:
      break;
    case ArgumentPart::kHost:
      if (arg.kind != ArgKind::kSockaddr) return std::nullopt;
      return Type(TypeKind::kString);
    case ArgumentPart::kPort:
      if (arg.kind != ArgKind::kSockaddr) return std::nullopt;
      return Type(TypeKind::kInt);
    case ArgumentPart::kIp:
      if (arg.kind != ArgKind::kSockaddr) return std::nullopt;
      return Type(TypeKind::kIp);
    case ArgumentPart::kPath:
      if (arg.kind != ArgKind::kHandle) return std::nullopt;
      return Type(TypeKind::kString);
  }
  switch (arg.kind) {
    case ArgKind::kU32:
    case ArgKind::kS32:
    case ArgKind::kS64:
      return Type(TypeKind::kInt);
    case ArgKind::kU64:
      return Type(TypeKind::kUint);
    case ArgKind::kPointer:
    case ArgKind::kHandle:
      return Type(is_64_bit ? TypeKind::kUint : TypeKind::kInt);
    case ArgKind::kF32:
    case ArgKind::kF64:
      return Type(TypeKind::kDouble);
    case ArgKind::kBytes:
    case ArgKind::kIovecIn:
      return Type(TypeKind::kBytes);
    case ArgKind::kString:
    case ArgKind::kPath:
    case ArgKind::kSockaddr:
      return Type(TypeKind::kString);
    case ArgKind::kBytesOut:
    case ArgKind::kIovecOut:
      return std::nullopt;
  }
  return std::nullopt;
}

void DeclareCallFacts(const ImportNames* names, Schema* schema) {
  const auto declare = [schema](absl::string_view name, Type type,
                                Presence presence = Presence::kAlways,
                                const std::string* constant = nullptr) {
    Fact fact;
    fact.name = std::string(name);
    fact.type = type;
    fact.presence = presence;
    if (constant != nullptr) fact.constant = Value::String(*constant);
    Declare(std::move(fact), schema);
  };
  const auto known = [names](const std::string ImportNames::*member) {
    return names == nullptr ? nullptr : &(names->*member);
  };
  // In the order of CallFact.
  declare("call.import", TypeKind::kString, Presence::kAlways,
          known(&ImportNames::import));
  declare("call.module", TypeKind::kString, Presence::kAlways,
          known(&ImportNames::module));
  declare("call.name", TypeKind::kString, Presence::kAlways,
          known(&ImportNames::name));
  declare("call.site", TypeKind::kInt, Presence::kLazy);
  declare("call.caller", TypeKind::kString, Presence::kLazy);
  declare("call.depth", TypeKind::kInt);
  declare("call.seq", TypeKind::kInt);
  declare("store.id", TypeKind::kString);
  declare("store.calls", TypeKind::kInt);
  declare("tenant", TypeKind::kString);
  declare("module.digest", TypeKind::kString);
  declare("module.name", TypeKind::kString);
  declare("now", TypeKind::kTimestamp, Presence::kLazy);
  declare("store.memory_bytes", TypeKind::kInt, Presence::kLazy);
  declare("store.fuel_used", TypeKind::kInt, Presence::kLazy);
  CALLGATE_CHECK(schema->facts().size() == kCallFactCount, "every fact");
}

void DeclareMissingArgument(absl::string_view fact, Schema* schema) {
  Fact missing;
  missing.name = std::string(fact);
  missing.type = TypeKind::kDyn;
  missing.presence = Presence::kNever;
  Declare(std::move(missing), schema);
}

void DeclareLists(const Vocabulary& vocabulary, Schema* schema) {
  for (const NamedList& list : vocabulary.lists) {
    const absl::Status added =
        list.globs != nullptr      ? schema->AddList(list.name, list.globs)
        : list.networks != nullptr ? schema->AddList(list.name, list.networks)
                                   : schema->AddList(list.name, list.patterns);
    CALLGATE_CHECK(added.ok(), "the compiler refuses lists of one name");
  }
}

void AddMacros(const Vocabulary& vocabulary, const Schema& schema,
               expression::MacroSet* macros, std::vector<Problem>* problems) {
  for (const Macro& macro : vocabulary.macros) {
    for (const expression::Problem& problem :
         macros->Add(macro.name, macro.when.source, schema)) {
      problems->push_back(
          AtCondition(macro.when, problem.ToString(macro.when.source)));
    }
  }
}

Problem AtCondition(const Condition& condition, const std::string& described) {
  return {condition.file, condition.position.line, condition.position.column,
          absl::StrCat(condition.path, ": ", described)};
}

std::optional<std::string> SourceOfException(const RuleException& exception,
                                             const Schema& schema,
                                             std::string* why) {
  std::vector<std::string> alternatives;
  for (const auto& terms : exception.alternatives) {
    std::vector<std::string> conditions;
    for (const RuleException::Term& term : terms) {
      const std::optional<uint32_t> slot = schema.FindSlot(term.field);
      if (!slot) {
        *why = absl::StrCat("there is no fact ", Quote(term.field));
        return std::nullopt;
      }
      const Type type = schema.facts()[*slot].type;
      std::vector<std::string> literals;
      for (const std::string& value : term.values) {
        int64_t number = 0;
        uint64_t natural = 0;
        if (type.Is(TypeKind::kInt)) {
          if (!absl::SimpleAtoi(value, &number)) {
            *why = absl::StrCat(Quote(value), " is no int, which ", term.field,
                                " is");
            return std::nullopt;
          }
          literals.push_back(absl::StrCat(number));
        } else if (type.Is(TypeKind::kUint)) {
          if (!absl::SimpleAtoi(value, &natural)) {
            *why = absl::StrCat(Quote(value), " is no uint, which ", term.field,
                                " is");
            return std::nullopt;
          }
          literals.push_back(absl::StrCat(natural, "u"));
        } else if (type.Is(TypeKind::kIp)) {
          literals.push_back(absl::StrCat("ip(", StringLiteral(value), ")"));
        } else {
          literals.push_back(StringLiteral(value));
        }
      }
      conditions.push_back(absl::StrCat(term.field, " in [",
                                        absl::StrJoin(literals, ", "), "]"));
    }
    alternatives.push_back(
        absl::StrCat("(", absl::StrJoin(conditions, " && "), ")"));
  }
  return absl::StrJoin(alternatives, " || ");
}

}  // namespace callgate::policy
