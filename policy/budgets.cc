#include "policy/budgets.h"

#include <algorithm>

#include "policy/policy.h"

namespace callgate::policy {

absl::string_view BudgetName(Budget budget) {
  switch (budget) {
    case Budget::kFuelPerCall:
      return "fuel_per_call";
    case Budget::kFuelPerStore:
      return "fuel_per_store";
    case Budget::kWallPerCall:
      return "wall_per_call";
    case Budget::kMemoryBytesTotal:
      return "memory_bytes_total";
    case Budget::kTableElementsTotal:
      return "table_elements_total";
    case Budget::kCallDepth:
      return "call_depth";
    case Budget::kHostCallsPerCall:
      return "host_calls_per_call";
    case Budget::kHostBytesPerCall:
      return "host_bytes_per_call";
    case Budget::kOpenHandles:
      return "open_handles";
    case Budget::kCpuPerCall:
      return "cpu_per_call";
    case Budget::kStackBytes:
      return "stack_bytes";
    case Budget::kEventsPerCall:
      return "events_per_call";
  }
  return "unknown";
}

std::optional<uint64_t> EffectiveBudgets::Max(Budget b) const {
  const std::optional<Entry>& entry = (*this)[b];
  if (!entry) return std::nullopt;
  return entry->max;
}

namespace {

std::optional<absl::Duration> Time(std::optional<uint64_t> nanos) {
  if (!nanos) return std::nullopt;
  return absl::Nanoseconds(static_cast<int64_t>(*nanos));
}

}  // namespace

std::optional<absl::Duration> EffectiveBudgets::wall_per_call() const {
  return Time(Max(Budget::kWallPerCall));
}

std::optional<absl::Duration> EffectiveBudgets::cpu_per_call() const {
  return Time(Max(Budget::kCpuPerCall));
}

EffectiveBudgets ComputeEffectiveBudgets(
    absl::Span<const std::shared_ptr<const Policy>> policies, Mode cap) {
  EffectiveBudgets out;
  for (const auto& policy : policies) {
    if (std::min(policy->mode(), cap) != Mode::kEnforce) continue;
    const Budgets& budgets = policy->budgets();
    for (size_t i = 0; i < kBudgetCount; ++i) {
      if (!budgets.max[i]) continue;
      std::optional<EffectiveBudgets::Entry>& entry = out.entries[i];
      const bool smaller = !entry || *budgets.max[i] < entry->max ||
                           (*budgets.max[i] == entry->max &&
                            budgets.on_exceed > entry->on_exceed);
      if (smaller) entry = {*budgets.max[i], budgets.on_exceed, policy.get()};
    }
    for (const ModuleLimit& limit : budgets.module) {
      const auto known = std::find_if(
          out.module.begin(), out.module.end(),
          [&](const auto& entry) { return entry.name == limit.name; });
      if (known == out.module.end()) {
        out.module.push_back({limit.name, limit.max, policy.get()});
      } else if (limit.max < known->max) {
        known->max = limit.max;
        known->policy = policy.get();
      }
    }
  }
  return out;
}

}  // namespace callgate::policy
