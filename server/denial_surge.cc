#include "server/denial_surge.h"

#include <algorithm>
#include <chrono>

namespace callgate {

absl::Time DenialSurge::Now() {
  return absl::UnixEpoch() +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

void DenialSurge::MoveTo(Pair& pair, int64_t slot) {
  // What lies between is empty.
  const int64_t first_new =
      std::max(pair.newest + 1, slot + 1 - static_cast<int64_t>(kSlots));
  for (int64_t i = first_new; i <= slot; ++i) {
    pair.denials[static_cast<size_t>(i) % kSlots] = 0;
  }
  pair.newest = std::max(pair.newest, slot);
}

uint64_t DenialSurge::Sum(const Pair& pair, int64_t from, int64_t to) {
  from = std::max(from, pair.newest + 1 - static_cast<int64_t>(kSlots));
  to = std::min(to, pair.newest + 1);
  uint64_t sum = 0;
  for (int64_t i = std::max<int64_t>(from, 0); i < to; ++i) {
    sum += pair.denials[static_cast<size_t>(i) % kSlots];
  }
  return sum;
}

void DenialSurge::NoteDenial(absl::string_view policy, absl::string_view tenant,
                             absl::string_view module, absl::Time now) {
  const int64_t slot = SlotOf(now);
  const absl::MutexLock lock(&mu_);
  std::pair<std::string, std::string> key(policy, tenant);
  auto found = pairs_.find(key);
  if (found == pairs_.end()) {
    if (pairs_.size() >= kPairsMax) return;
    found = pairs_.emplace(std::move(key), Pair()).first;
    found->second.newest = slot;
    found->second.first = slot;
  }
  Pair& pair = found->second;
  MoveTo(pair, slot);
  uint32_t& denials = pair.denials[static_cast<size_t>(slot) % kSlots];
  if (denials < ~uint32_t{0}) ++denials;
  const auto of_module = pair.modules.find(std::string(module));
  if (of_module != pair.modules.end()) {
    of_module->second = slot;
  } else if (pair.modules.size() < kModulesMax) {
    pair.modules.emplace(module, slot);
  }
}

void DenialSurge::NoteChange(absl::string_view policy, absl::string_view cause,
                             absl::string_view before, absl::Time now) {
  const absl::MutexLock lock(&mu_);
  watched_.insert_or_assign(std::string(policy),
                            Watched{std::string(cause), std::string(before),
                                    SlotOf(now), now + options_.watch});
}

void DenialSurge::Forget(absl::string_view policy) {
  const absl::MutexLock lock(&mu_);
  const auto found = watched_.find(policy);
  if (found != watched_.end()) watched_.erase(found);
}

std::vector<DenialSurge::Surge> DenialSurge::Check(absl::Time now) {
  const int64_t slot = SlotOf(now);
  std::vector<Surge> surges;
  const absl::MutexLock lock(&mu_);
  for (auto watched = watched_.begin(); watched != watched_.end();) {
    const auto& [policy, change] = *watched;
    if (now > change.until) {
      watched = watched_.erase(watched);
      continue;
    }
    Surge surge;
    std::set<std::string> modules;
    const int64_t minute =
        std::max(change.since, slot + 1 - static_cast<int64_t>(kSlotsOfMinute));
    for (auto at = pairs_.lower_bound({policy, ""});
         at != pairs_.end() && at->first.first == policy; ++at) {
      const Pair& pair = at->second;
      const uint64_t denials = Sum(pair, minute, slot + 1);
      if (denials < options_.denials_min) continue;
      // Of a minute before the change, over what is known of that time.
      const int64_t from =
          std::max(pair.first, slot + 1 - static_cast<int64_t>(kSlots));
      const int64_t slots_before = change.since - from;
      const double usual =
          slots_before <= 0
              ? 0
              : static_cast<double>(Sum(pair, from, change.since)) *
                    static_cast<double>(kSlotsOfMinute) /
                    static_cast<double>(std::max(
                        slots_before, static_cast<int64_t>(kSlotsOfMinute)));
      if (static_cast<double>(denials) < usual * options_.factor) continue;
      ++surge.tenants;
      surge.denials += denials;
      for (const auto& [module, last] : pair.modules) {
        if (last >= minute) modules.insert(module);
      }
    }
    if (surge.tenants < options_.tenants_min ||
        modules.size() < options_.modules_min) {
      ++watched;
      continue;
    }
    surge.policy = policy;
    surge.cause = change.cause;
    surge.before = change.before;
    surges.push_back(std::move(surge));
    watched = watched_.erase(watched);
  }
  // Who was denied nothing for an hour is forgotten.
  for (auto at = pairs_.begin(); at != pairs_.end();) {
    at = slot - at->second.newest >= static_cast<int64_t>(kSlots)
             ? pairs_.erase(at)
             : std::next(at);
  }
  return surges;
}

}  // namespace callgate
