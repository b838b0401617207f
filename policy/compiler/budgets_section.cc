#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "policy/compiler/sections.h"

namespace callgate::policy {
namespace {

void Tighten(std::optional<uint64_t>* budget, uint64_t max) {
  *budget = budget->has_value() ? std::min(**budget, max) : max;
}

// By reflection: the message is nothing but optional numbers, and their names
// are the limits' names.
void CompileModuleBudgets(const v1::ModuleBudgets& module, Compilation& c) {
  const auto& reflection = *module.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(module, &fields);
  for (const auto* field : fields) {
    const uint64_t max = reflection.GetUInt64(module, field);
    std::vector<ModuleLimit>& limits = c.content().budgets.module;
    const auto known = std::find_if(
        limits.begin(), limits.end(),
        [&](const ModuleLimit& l) { return l.name == field->name(); });
    if (known == limits.end()) {
      limits.push_back({field->name(), max});
    } else {
      known->max = std::min(known->max, max);
    }
  }
}

}  // namespace

void CompileBudgets(const LoadedPolicyFile& file, Compilation& c) {
  const bool is_root = &file == &c.root();
  const v1::Budgets& budgets = file.proto.budgets();
  Budgets& out = c.content().budgets;
  const auto set = [&](Budget b, bool has, uint64_t value, uint64_t min,
                       uint64_t max) {
    if (!has) return;
    if (value < min || value > max) {
      c.Report(file, absl::StrCat("budgets.", BudgetName(b)),
               absl::StrCat("is ", value, "; allowed: ", min, " to ", max));
      return;
    }
    Tighten(&out.max[static_cast<size_t>(b)], value);
  };
  constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
  set(Budget::kFuelPerCall, budgets.has_fuel_per_call(),
      budgets.fuel_per_call(), 1, kAny);
  set(Budget::kFuelPerStore, budgets.has_fuel_per_store(),
      budgets.fuel_per_store(), 1, kAny);
  set(Budget::kMemoryBytesTotal, budgets.has_memory_bytes_total(),
      budgets.memory_bytes_total(), 0, kAny);
  set(Budget::kTableElementsTotal, budgets.has_table_elements_total(),
      budgets.table_elements_total(), 0, kAny);
  set(Budget::kCallDepth, budgets.has_call_depth(), budgets.call_depth(), 1,
      std::numeric_limits<uint32_t>::max());
  set(Budget::kHostCallsPerCall, budgets.has_host_calls_per_call(),
      budgets.host_calls_per_call(), 0, kAny);
  set(Budget::kHostBytesPerCall, budgets.has_host_bytes_per_call(),
      budgets.host_bytes_per_call(), 0, kAny);
  set(Budget::kOpenHandles, budgets.has_open_handles(), budgets.open_handles(),
      0, kAny);
  if (budgets.has_wall_per_call()) {
    // A century is as good as for ever, and fits.
    constexpr int64_t kSecondsMax = int64_t{100} * 366 * 86400;
    const auto& wall = budgets.wall_per_call();
    if ((wall.seconds() == 0 && wall.nanos() == 0) ||
        wall.seconds() > kSecondsMax) {
      c.Report(file, "budgets.wall_per_call",
               "must be longer than nothing and at most 100 years");
    } else {
      Tighten(&out.max[static_cast<size_t>(Budget::kWallPerCall)],
              static_cast<uint64_t>(wall.seconds()) * 1'000'000'000 +
                  static_cast<uint64_t>(wall.nanos()));
    }
  }
  if (const v1::Action a = budgets.on_exceed();
      a != v1::ACTION_UNSPECIFIED &&
      c.CheckAction(file, "budgets.on_exceed", a,
                    {v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                     v1::ACTION_QUARANTINE_MODULE})) {
    out.on_exceed = std::max(out.on_exceed, ToVerdict(a));
  }
  CompileModuleBudgets(budgets.module(), c);
  if (!is_root) return;
  for (size_t i = 0; i < kBudgetCount; ++i) {
    const auto b = static_cast<Budget>(i);
    c.content().budget_exceeded[i] =
        c.OwnRule(absl::StrCat("budget:", BudgetName(b)), Verdict::kTrap,
                  absl::StrCat("budgets.", BudgetName(b)));
  }
}
}  // namespace callgate::policy
