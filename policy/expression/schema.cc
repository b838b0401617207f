#include "policy/expression/schema.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "policy/expression/reserved_words.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

bool IsDottedWord(absl::string_view name) {
  for (const absl::string_view word : absl::StrSplit(name, '.')) {
    if (word.empty() ||
        absl::ascii_isdigit(static_cast<unsigned char>(word.front()))) {
      return false;
    }
    for (const char c : word) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_') {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

ValueKind KindOf(Type type) {
  if (type.is_list()) return ValueKind::kList;
  switch (type.kind()) {
    case TypeKind::kNull:
      return ValueKind::kNull;
    case TypeKind::kBool:
      return ValueKind::kBool;
    case TypeKind::kInt:
      return ValueKind::kInt;
    case TypeKind::kUint:
      return ValueKind::kUint;
    case TypeKind::kDouble:
      return ValueKind::kDouble;
    case TypeKind::kString:
      return ValueKind::kString;
    case TypeKind::kBytes:
      return ValueKind::kBytes;
    case TypeKind::kDuration:
      return ValueKind::kDuration;
    case TypeKind::kTimestamp:
      return ValueKind::kTimestamp;
    case TypeKind::kIp:
      return ValueKind::kIp;
    case TypeKind::kDyn:
    case TypeKind::kGlobList:
    case TypeKind::kCidrList:
    case TypeKind::kPatternList:
      break;
  }
  return ValueKind::kAbsent;
}

Type Schema::NamedList::type() const {
  if (globs != nullptr) return TypeKind::kGlobList;
  if (networks != nullptr) return TypeKind::kCidrList;
  return TypeKind::kPatternList;
}

absl::StatusOr<uint32_t> Schema::Declare(Fact fact) {
  const auto bad = [&fact](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("fact ", Quote(fact.name), " ", why));
  };
  if (facts_.size() >= kFactsMax) {
    return bad(absl::StrCat("is one too many; at most ", kFactsMax));
  }
  if (!IsDottedWord(fact.name)) return bad("is not a dotted word");
  const absl::string_view first =
      absl::string_view(fact.name).substr(0, fact.name.find('.'));
  if (IsLiteralWord(first)) return bad("begins with a literal");
  if (slots_.find(fact.name) != slots_.end()) return bad("is declared twice");
  const bool may_be_any =
      fact.presence == Presence::kNever || fact.presence == Presence::kOptional;
  if ((fact.type.kind() == TypeKind::kDyn && !may_be_any) ||
      fact.type.is_named_list()) {
    return bad(absl::StrCat("has the type ", fact.type.ToString(),
                            ", which no fact has"));
  }
  if (fact.constant.has_value()) {
    if (fact.type.is_list() || fact.constant->kind() != KindOf(fact.type)) {
      return bad("has a constant of another type");
    }
    if (fact.presence != Presence::kAlways) {
      return bad("has a constant and may be absent");
    }
  }
  const auto slot = static_cast<uint32_t>(facts_.size());
  slots_.emplace(fact.name, slot);
  facts_.push_back(std::move(fact));
  return slot;
}

absl::Status Schema::Add(absl::string_view name, NamedList list) {
  if (!lists_.emplace(std::string(name), std::move(list)).second) {
    return absl::InvalidArgumentError(
        absl::StrCat("list ", Quote(name), " is declared twice"));
  }
  return absl::OkStatus();
}

absl::Status Schema::AddList(absl::string_view name,
                             std::shared_ptr<const GlobList> list) {
  return Add(name, {std::move(list), nullptr, nullptr});
}

absl::Status Schema::AddList(absl::string_view name,
                             std::shared_ptr<const CidrList> list) {
  return Add(name, {nullptr, std::move(list), nullptr});
}

absl::Status Schema::AddList(absl::string_view name,
                             std::shared_ptr<const PatternList> list) {
  return Add(name, {nullptr, nullptr, std::move(list)});
}

const Schema::NamedList* Schema::FindList(absl::string_view name) const {
  const auto found = lists_.find(name);
  return found == lists_.end() ? nullptr : &found->second;
}

std::optional<uint32_t> Schema::FindSlot(absl::string_view name) const {
  const auto found = slots_.find(name);
  if (found == slots_.end()) return std::nullopt;
  return found->second;
}

bool Schema::IsGroup(absl::string_view name) const {
  const std::string prefix = absl::StrCat(name, ".");
  const auto next = slots_.lower_bound(prefix);
  return next != slots_.end() && absl::StartsWith(next->first, prefix);
}

std::vector<std::string> Schema::FactNames() const {
  std::vector<std::string> names;
  for (const auto& [name, slot] : slots_) names.push_back(name);
  return names;
}

Schema Schema::WithSmallestFacts() const {
  Schema smallest = *this;
  for (Fact& fact : smallest.facts_) {
    fact.bytes_max = 0;
    fact.items_max = 0;
  }
  return smallest;
}

std::vector<std::string> Schema::ListNames() const {
  std::vector<std::string> names;
  for (const auto& [name, list] : lists_) names.push_back(name);
  return names;
}

}  // namespace callgate::policy::expression
