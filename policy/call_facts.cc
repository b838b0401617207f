#include "policy/call_facts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "policy/expression/expression.h"
#include "policy/quote.h"
#include "policy/state/facts_record.h"
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
constexpr absl::string_view kResult = "result.";

struct CallFactRow {
  absl::string_view name;
  TypeKind type;
  Presence presence;
};
// In the order of CallFact.
constexpr CallFactRow kCallFacts[] = {
    {"call.import", TypeKind::kString, Presence::kAlways},
    {"call.module", TypeKind::kString, Presence::kAlways},
    {"call.name", TypeKind::kString, Presence::kAlways},
    {"call.site", TypeKind::kInt, Presence::kLazy},
    {"call.caller", TypeKind::kString, Presence::kLazy},
    {"call.depth", TypeKind::kInt, Presence::kAlways},
    {"call.seq", TypeKind::kInt, Presence::kAlways},
    {"store.id", TypeKind::kString, Presence::kAlways},
    {"store.calls", TypeKind::kInt, Presence::kAlways},
    {"tenant", TypeKind::kString, Presence::kAlways},
    {"module.digest", TypeKind::kString, Presence::kAlways},
    {"module.name", TypeKind::kString, Presence::kAlways},
    {"now", TypeKind::kTimestamp, Presence::kLazy},
    {"store.memory_bytes", TypeKind::kInt, Presence::kLazy},
    {"store.fuel_used", TypeKind::kInt, Presence::kLazy},
    {"call.edge", TypeKind::kString, Presence::kAlways},
    {"call.denied", TypeKind::kBool, Presence::kAlways},
    {"result.errno", TypeKind::kInt, Presence::kOptional},
    {"result.value", TypeKind::kDyn, Presence::kOptional},
};
static_assert(sizeof(kCallFacts) / sizeof(kCallFacts[0]) == kCallFactCount,
              "every fact");

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

size_t WordEnd(absl::string_view source, size_t at) {
  if (at < source.size() &&
      absl::ascii_isdigit(static_cast<unsigned char>(source[at]))) {
    return at;
  }
  while (at < source.size() && IsWordByte(source[at])) ++at;
  return at;
}

void AddSorted(absl::string_view name, std::vector<std::string>* names) {
  const auto at = std::lower_bound(names->begin(), names->end(), name);
  if (at != names->end() && *at == name) return;
  names->insert(at, std::string(name));
}

// Calls `found` with where the rest begins of each "<prefix>rest" in which the
// prefix is not the end of another word.
template <typename Found>
void ForEachAfter(absl::string_view prefix, absl::string_view source,
                  const Found& found) {
  size_t at = 0;
  while ((at = source.find(prefix, at)) != absl::string_view::npos) {
    const bool inside = at > 0 && IsWordByte(source[at - 1]);
    at += prefix.size();
    if (!inside) found(at);
  }
}

// "args.x" and, with a part, "args.x.ip"; "result.x". Nothing for other texts.
std::vector<absl::string_view> ArgumentFactsAt(absl::string_view text) {
  const bool is_result = absl::StartsWith(text, kResult);
  if (!is_result && !absl::StartsWith(text, kArgs)) return {};
  const size_t begin = is_result ? kResult.size() : kArgs.size();
  const size_t end = WordEnd(text, begin);
  if (end == begin) return {};
  std::vector<absl::string_view> facts = {text.substr(0, end)};
  if (is_result || end >= text.size() || text[end] != '.') return facts;
  const size_t part_end = WordEnd(text, end + 1);
  if (PartFromName(text.substr(end + 1, part_end - end - 1))) {
    facts.push_back(text.substr(0, part_end));
  }
  return facts;
}

std::optional<CallFact> FindCallFact(absl::string_view name) {
  for (uint32_t i = 0; i < kCallFactCount; ++i) {
    if (kCallFacts[i].name == name) return static_cast<CallFact>(i);
  }
  return std::nullopt;
}

}  // namespace

absl::string_view CallFactName(CallFact fact) {
  return kCallFacts[SlotOf(fact)].name;
}

std::string FormatArgumentFact(absl::string_view argument, ArgumentPart part) {
  absl::string_view suffix;
  switch (part) {
    case ArgumentPart::kValue:
      break;
    case ArgumentPart::kHost:
      suffix = ".host";
      break;
    case ArgumentPart::kPort:
      suffix = ".port";
      break;
    case ArgumentPart::kIp:
      suffix = ".ip";
      break;
    case ArgumentPart::kPath:
      suffix = ".path";
      break;
  }
  return absl::StrCat(kArgs, argument, suffix);
}

bool IsFactName(absl::string_view name) {
  if (FindCallFact(name)) return true;
  const std::vector<absl::string_view> facts = ArgumentFactsAt(name);
  return !facts.empty() && facts.back() == name;
}

ArgumentFactName SplitArgumentFact(absl::string_view fact) {
  ArgumentFactName split;
  split.is_result = absl::StartsWith(fact, kResult);
  CALLGATE_CHECK(split.is_result || absl::StartsWith(fact, kArgs),
                 "an argument's fact");
  fact.remove_prefix(split.is_result ? kResult.size() : kArgs.size());
  const size_t dot = fact.find('.');
  split.argument = std::string(fact.substr(0, dot));
  if (dot != absl::string_view::npos) {
    split.part = PartFromName(fact.substr(dot + 1)).value_or(split.part);
  }
  return split;
}

void FindArgumentFacts(absl::string_view source,
                       std::vector<std::string>* names) {
  for (const absl::string_view prefix : {kArgs, kResult}) {
    ForEachAfter(prefix, source, [&](size_t after) {
      for (const absl::string_view fact :
           ArgumentFactsAt(source.substr(after - prefix.size()))) {
        if (!FindCallFact(fact)) AddSorted(fact, names);
      }
    });
  }
}

void FindFactsOf(absl::string_view event, absl::string_view source,
                 std::vector<std::string>* facts) {
  ForEachAfter(absl::StrCat(event, "."), source, [&](size_t after) {
    const absl::string_view rest = source.substr(after);
    for (const absl::string_view fact : ArgumentFactsAt(rest)) {
      AddSorted(fact, facts);
    }
    for (const CallFactRow& row : kCallFacts) {
      if (absl::StartsWith(rest, row.name) &&
          (rest.size() == row.name.size() ||
           !IsWordByte(rest[row.name.size()]))) {
        AddSorted(row.name, facts);
      }
    }
  });
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
    case ArgKind::kAddrsOut:
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<Type> TypeOfResult(const ArgSpec& arg) {
  switch (arg.kind) {
    case ArgKind::kBytesOut:
      return Type(TypeKind::kBytes);
    case ArgKind::kAddrsOut:
      return Type::List(TypeKind::kIp);
    default:
      return std::nullopt;
  }
}

void DeclareCallFacts(const ImportNames* names, Schema* schema) {
  for (uint32_t i = 0; i < kCallFactCount; ++i) {
    const CallFactRow& row = kCallFacts[i];
    Fact fact;
    fact.name = std::string(row.name);
    fact.type = row.type;
    fact.presence = row.presence;
    if (names != nullptr) {
      switch (static_cast<CallFact>(i)) {
        case CallFact::kImport:
          fact.constant = Value::String(names->import);
          break;
        case CallFact::kModule:
          fact.constant = Value::String(names->module);
          break;
        case CallFact::kName:
          fact.constant = Value::String(names->name);
          break;
        case CallFact::kErrno:
          if (!names->answers_errno) fact.presence = Presence::kNever;
          break;
        case CallFact::kResultValue:
          if (names->result) {
            fact.type = *names->result;
          } else {
            fact.presence = Presence::kNever;
          }
          break;
        default:
          break;
      }
    }
    Declare(std::move(fact), schema);
  }
}

void DeclareUnknownArgument(absl::string_view fact, Schema* schema) {
  Fact unknown;
  unknown.name = std::string(fact);
  unknown.type = TypeKind::kDyn;
  unknown.presence = Presence::kOptional;
  // Programs over such facts look at what was kept of an event.
  unknown.bytes_max = FactsRecord::kTextBytesMax;
  Declare(std::move(unknown), schema);
}

void DeclareFactOf(absl::string_view name, absl::string_view fact,
                   uint32_t bytes_max, Schema* schema) {
  Fact past;
  past.name = std::string(name);
  const std::optional<CallFact> known = FindCallFact(fact);
  past.type = known ? kCallFacts[SlotOf(*known)].type : TypeKind::kDyn;
  past.presence = Presence::kOptional;
  past.bytes_max = bytes_max;
  Declare(std::move(past), schema);
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
    for (expression::Problem& problem :
         macros->Add(macro.name, macro.when.source, schema)) {
      for (const Macro& later : vocabulary.macros) {
        if (!absl::StartsWith(
                problem.message,
                absl::StrCat("there is no fact ", Quote(later.name)))) {
          continue;
        }
        problem.message =
            absl::StrCat(Quote(later.name),
                         " is this macro or one below it; a macro may use "
                         "those above it");
      }
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
        } else if (type.Is(TypeKind::kDouble)) {
          double real = 0;
          if (!absl::SimpleAtod(value, &real) || !std::isfinite(real)) {
            *why = absl::StrCat(Quote(value), " is no double, which ",
                                term.field, " is");
            return std::nullopt;
          }
          literals.push_back(absl::StrFormat("%.17e", real));
        } else if (type.Is(TypeKind::kBool)) {
          if (value != "true" && value != "false") {
            *why = absl::StrCat(Quote(value), " is no bool, which ", term.field,
                                " is; write true or false");
            return std::nullopt;
          }
          literals.push_back(value);
        } else if (type.Is(TypeKind::kBytes)) {
          literals.push_back(absl::StrCat("b", StringLiteral(value)));
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
