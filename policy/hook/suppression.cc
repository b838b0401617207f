#include "policy/hook/suppression.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace callgate::policy {
namespace {

// Of names that come from modules.
constexpr size_t kTextBytesMax = 256;

void Append(std::string* key, absl::string_view text) {
  // With its length, so that no text can look like two.
  absl::StrAppend(key, text.size(), ":", text);
}

std::string Cut(absl::string_view text) {
  return std::string(text.substr(0, kTextBytesMax));
}

}  // namespace

std::string Suppressor::KeyOf(const SuppressionSpec& spec,
                              const DecisionRecord& decision) {
  std::string key;
  Append(&key, decision.policy);
  for (const SuppressionKey part : spec.group_by) {
    switch (part) {
      case SuppressionKey::kRule:
        Append(&key, decision.rule);
        break;
      case SuppressionKey::kVerdict:
        Append(&key, VerdictName(decision.verdict));
        Append(&key, VerdictName(decision.would_be_verdict));
        break;
      case SuppressionKey::kSeverity:
        Append(&key, SeverityName(decision.severity));
        break;
      case SuppressionKey::kBudget:
        Append(&key, decision.budget);
        break;
      case SuppressionKey::kTenant:
        Append(&key, decision.store->tenant);
        break;
      case SuppressionKey::kStore:
        Append(&key, decision.store->store_id);
        break;
      case SuppressionKey::kModuleDigest:
        Append(&key, decision.store->module_digest);
        break;
      case SuppressionKey::kModuleName:
        Append(&key, decision.store->module_name.size() > kTextBytesMax
                         ? Cut(decision.store->module_name)
                         : decision.store->module_name);
        break;
      case SuppressionKey::kCallImport:
        Append(&key, decision.import_module.substr(0, kTextBytesMax));
        Append(&key, decision.import_name.substr(0, kTextBytesMax));
        break;
      case SuppressionKey::kCallSite:
        absl::StrAppend(&key, decision.caller_func_index, ";");
        break;
    }
  }
  return key;
}

void Suppressor::AddDue(HeldBack held) {
  if (due_.size() < groups_max_) {
    due_.push_back(std::move(held));
    return;
  }
  // Which they were is lost; how many, not.
  held.count += due_.back().count;
  held.since = std::min(held.since, due_.back().since);
  held.overflow = true;
  due_.back() = std::move(held);
}

template <typename Over>
std::vector<HeldBack> Suppressor::Take(const Over& over) {
  std::vector<HeldBack> taken;
  next_end_ = absl::InfiniteFuture();
  for (auto group = groups_.begin(); group != groups_.end();) {
    if (!over(group->second)) {
      next_end_ = std::min(next_end_, group->second.ends);
      ++group;
      continue;
    }
    if (group->second.held.count > 0) {
      taken.push_back(std::move(group->second.held));
    }
    groups_.erase(group++);
  }
  return taken;
}

bool Suppressor::Tells(const DecisionRecord& decision, absl::Time now) {
  const SuppressionSpec* const spec = decision.suppression;
  if (spec == nullptr) return true;
  std::string key = KeyOf(*spec, decision);
  const std::lock_guard<std::mutex> lock(mu_);
  auto found = groups_.find(key);
  if (found != groups_.end() && found->second.ends <= now) {
    if (found->second.held.count > 0) AddDue(std::move(found->second.held));
    groups_.erase(found);
    found = groups_.end();
  }
  bool overflow = false;
  if (found == groups_.end() && groups_.size() >= groups_max_) {
    if (next_end_ <= now) {
      for (HeldBack& held :
           Take([now](const Group& group) { return group.ends <= now; })) {
        AddDue(std::move(held));
      }
    }
    if (groups_.size() >= groups_max_) {
      overflow = true;
      key.clear();
      Append(&key, decision.policy);
      key += "other";
      found = groups_.find(key);
    }
  }
  if (found == groups_.end()) {
    Group group;
    group.ends = now + spec->period;
    group.held.since = now;
    group.held.overflow = overflow;
    group.of_store =
        !overflow && std::find(spec->group_by.begin(), spec->group_by.end(),
                               SuppressionKey::kStore) != spec->group_by.end();
    next_end_ = std::min(next_end_, group.ends);
    found = groups_.emplace(std::move(key), std::move(group)).first;
  }
  Group& group = found->second;
  if (++group.seen <= spec->burst) return true;
  HeldBack& held = group.held;
  ++held.count;
  ++held_back_;
  held.until = now;
  held.policy = std::string(decision.policy);
  held.policy_version = std::string(decision.policy_version);
  held.rule = std::string(decision.rule);
  held.tenant = decision.store->tenant;
  held.store_id = decision.store->store_id;
  held.module_digest = decision.store->module_digest;
  held.import_module = Cut(decision.import_module);
  held.import_name = Cut(decision.import_name);
  held.budget = std::string(decision.budget);
  held.verdict = decision.verdict;
  held.would_be_verdict = decision.would_be_verdict;
  held.mode = decision.mode;
  held.severity = std::max(held.severity, decision.severity);
  return false;
}

std::vector<HeldBack> Suppressor::TakeDue(absl::Time now) {
  const std::lock_guard<std::mutex> lock(mu_);
  std::vector<HeldBack> taken = std::exchange(due_, {});
  if (next_end_ <= now) {
    for (HeldBack& held :
         Take([now](const Group& group) { return group.ends <= now; })) {
      taken.push_back(std::move(held));
    }
  }
  for (const HeldBack& held : taken) held_back_ -= held.count;
  return taken;
}

std::vector<HeldBack> Suppressor::TakeStore(absl::string_view store_id) {
  const std::lock_guard<std::mutex> lock(mu_);
  // A group that has held nothing back knows no Store; it ends by itself.
  std::vector<HeldBack> taken = Take([store_id](const Group& group) {
    return group.of_store && group.held.count > 0 &&
           group.held.store_id == store_id;
  });
  for (const HeldBack& held : taken) held_back_ -= held.count;
  return taken;
}

std::vector<HeldBack> Suppressor::TakeAll() {
  const std::lock_guard<std::mutex> lock(mu_);
  std::vector<HeldBack> taken = std::exchange(due_, {});
  for (HeldBack& held : Take([](const Group&) { return true; })) {
    taken.push_back(std::move(held));
  }
  held_back_ = 0;
  return taken;
}

size_t Suppressor::groups() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return groups_.size();
}

uint64_t Suppressor::held_back() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return held_back_;
}

}  // namespace callgate::policy
