#include "policy/compiler/state_key.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "policy/call_facts.h"
#include "policy/compiler/rule_parts.h"
#include "policy/quote.h"
#include "policy/temporal/keyed_states.h"

namespace callgate::policy {
namespace {

constexpr int kKeyFactsMax = 8;
constexpr size_t kKeysDefault = 1024;
constexpr size_t kKeysLimit =
    temporal::KeyedStates<temporal::TokenBucket>::kKeysMax;

bool Names(const std::vector<Condition>& key, absl::string_view fact) {
  return std::any_of(key.begin(), key.end(),
                     [&](const Condition& c) { return c.source == fact; });
}

}  // namespace

std::vector<Condition> ReadKey(
    const LoadedPolicyFile& file, const std::string& path,
    const google::protobuf::RepeatedPtrField<std::string>& key,
    Compilation& c) {
  std::vector<Condition> facts;
  if (key.size() > kKeyFactsMax) {
    c.Report(
        file, path,
        absl::StrCat("has ", key.size(), " facts; at most ", kKeyFactsMax));
  }
  for (int i = 0; i < key.size(); ++i) {
    const std::string at = absl::StrCat(path, "[", i, "]");
    const std::string& name = key.Get(i);
    if (name != "store" && !IsFactName(name)) {
      c.Report(file, at,
               absl::StrCat(Quote(name),
                            " is no fact; name facts as conditions do, or "
                            "`store`"));
      continue;
    }
    facts.push_back(ConditionAt(file, at, name == "store" ? "store.id" : name));
  }
  return facts;
}

StateScope ScopeOfKey(const std::vector<Condition>& key) {
  if (Names(key, "store.id")) return StateScope::kStore;
  if (Names(key, "module.digest")) return StateScope::kModule;
  if (Names(key, "tenant")) return StateScope::kTenant;
  return StateScope::kStore;
}

size_t KeysMax(const LoadedPolicyFile& file, const std::string& path,
               const std::vector<Condition>& key, StateScope scope,
               std::optional<uint64_t> max_keys, Compilation& c) {
  if (max_keys && (*max_keys < 1 || *max_keys > kKeysLimit)) {
    c.Report(file, absl::StrCat(path, ".max_keys"),
             absl::StrCat("is ", *max_keys, "; allowed: 1 to ", kKeysLimit));
    return 1;
  }
  const bool is_fixed =
      std::all_of(key.begin(), key.end(), [&](const Condition& fact) {
        if (fact.source == "tenant") return true;
        if (fact.source == "module.digest") return scope != StateScope::kTenant;
        return scope == StateScope::kStore &&
               (fact.source == "store.id" || fact.source == "module.name");
      });
  if (is_fixed) return 1;
  return static_cast<size_t>(max_keys.value_or(kKeysDefault));
}

}  // namespace callgate::policy
