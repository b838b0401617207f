// What one Store and one call may use, as policies say it, and the smallest of
// each where several apply.
//
// These are numbers only: whoever makes the Store hands each to the part that
// can hold it (fuel, wall and processor time to the call's options, memory and
// stack to the Store's limits, module.* to the admission scan). The hook itself
// counts host calls and events, and takes the price of host calls.

#ifndef CALLGATE_POLICY_BUDGETS_H_
#define CALLGATE_POLICY_BUDGETS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/host_call_price.h"
#include "policy/import_name.h"
#include "policy/verdict.h"

namespace callgate::policy {

class Policy;

enum class Budget : uint8_t {
  kFuelPerCall,
  kFuelPerStore,
  kWallPerCall,
  kMemoryBytesTotal,
  kTableElementsTotal,
  kCallDepth,
  kHostCallsPerCall,
  kHostBytesPerCall,
  kOpenHandles,
  kCpuPerCall,
  kStackBytes,
  kEventsPerCall,
};
inline constexpr size_t kBudgetCount = 12;
// Whether its numbers are nanoseconds.
constexpr bool IsTime(Budget b) {
  return b == Budget::kWallPerCall || b == Budget::kCpuPerCall;
}

// "fuel_per_call", …: the policy file's names, and metric labels.
absl::string_view BudgetName(Budget budget);

// A limit of the admission scan, by the scan's own name for it.
struct ModuleLimit {
  std::string name;  // "locals_total"
  uint64_t max = 0;
};

// What one file says that host calls cost. Of several files of a policy each
// call has the highest price.
struct HostCallPrices {
  std::vector<std::pair<ImportName, HostCallPrice>> imports;
  // Of those that are not named.
  std::optional<HostCallPrice> others;
};

// One policy's budgets. Absent: not limited by it.
struct Budgets {
  // By Budget.
  std::optional<uint64_t> max[kBudgetCount];
  std::vector<ModuleLimit> module;
  std::vector<HostCallPrices> host_call_prices;
  // What passing one does: trap, kill the Store, or quarantine the module.
  Verdict on_exceed = Verdict::kTrap;

  std::optional<uint64_t> operator[](Budget b) const {
    return max[static_cast<size_t>(b)];
  }
};

// The smallest of each budget, over the policies that are enforced. Of equal
// ones the policy with the more severe `on_exceed` counts.
struct EffectiveBudgets {
  struct Entry {
    uint64_t max = 0;
    Verdict on_exceed = Verdict::kTrap;
    const Policy* policy = nullptr;  // whose it is; outlives this
  };
  std::optional<Entry> entries[kBudgetCount];

  struct ModuleEntry {
    std::string name;
    uint64_t max = 0;
    const Policy* policy = nullptr;
  };
  std::vector<ModuleEntry> module;

  const std::optional<Entry>& operator[](Budget b) const {
    return entries[static_cast<size_t>(b)];
  }
  // The number alone.
  std::optional<uint64_t> Max(Budget b) const;
  std::optional<absl::Duration> wall_per_call() const;
  std::optional<absl::Duration> cpu_per_call() const;
};

// `cap` as in PolicyHook: under kAudit nothing is enforced and the result is
// empty.
EffectiveBudgets ComputeEffectiveBudgets(
    absl::Span<const std::shared_ptr<const Policy>> policies,
    Mode cap = Mode::kEnforce);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_BUDGETS_H_
