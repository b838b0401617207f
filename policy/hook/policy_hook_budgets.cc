// The budgets half of the hook: what a call from outside and a growth may use,
// and what is recorded when one of them is passed.

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/guest_errno.h"
#include "policy/hook/policy_hook.h"
#include "policy/host_call_price.h"

namespace callgate::policy {
namespace {

constexpr uint32_t Bit(Budget b) { return 1u << static_cast<uint32_t>(b); }

// "2000000000" of wall_per_call reads badly.
std::string ShowBudget(Budget budget, uint64_t amount) {
  if (!IsTime(budget)) return absl::StrCat(amount);
  return absl::FormatDuration(absl::Nanoseconds(static_cast<int64_t>(amount)));
}

}  // namespace

void PolicyHook::AddHostCallBudgets() {
  for (HostCallLimit& limit : host_call_limits_) {
    if (host_calls_ <= limit.max) break;
    // Enforced: every call over it is refused, should the guest go on.
    if (limit.mode == Mode::kAudit && limit.recorded) continue;
    limit.recorded = true;
    const Policy& policy = rules_->policy(limit.policy);
    texts_.push_back(absl::StrCat(
        "more host calls in one call than host_calls_per_call, ", limit.max));
    matches_.push_back(
        MatchOf(policy.budget_exceeded(Budget::kHostCallsPerCall), limit.policy,
                policy.budgets().on_exceed, limit.mode, texts_.back()));
  }
  // The next that has not been recorded, or is enforced.
  next_host_call_mark_ = std::numeric_limits<uint64_t>::max();
  for (const HostCallLimit& limit : host_call_limits_) {
    if (limit.mode == Mode::kAudit && limit.recorded) continue;
    next_host_call_mark_ = limit.max;
    break;
  }
}

Disposition PolicyHook::LeaveGuest(CallContext& call) {
  if (call.trap() == nullptr) return call.Proceed();
  // There is nothing to learn from a guest that did not end as it should.
  if (anomaly_ != nullptr && !call.trap()->exit_code().has_value()) {
    anomaly_->NoteAlert();
  }
  std::optional<Budget> budget;
  switch (call.trap()->code()) {
    case TrapCode::kOutOfFuel:
      if (arming_.fuel == Arming::Fuel::kPerCallBudget) {
        budget = Budget::kFuelPerCall;
      } else if (arming_.fuel == Arming::Fuel::kPerStoreBudget) {
        budget = Budget::kFuelPerStore;
      }
      break;
    case TrapCode::kDeadlineExceeded:
      if (arming_.wall_is_budget) budget = Budget::kWallPerCall;
      break;
    case TrapCode::kProcessorTimeExceeded:
      if (arming_.cpu_is_budget) budget = Budget::kCpuPerCall;
      break;
    case TrapCode::kHostBytesExceeded:
      budget = Budget::kHostBytesPerCall;
      break;
    case TrapCode::kCallStackExhausted:
      budget = arming_.stack;
      break;
    default:
      break;
  }
  if (!budget || !budgets()[*budget] ||
      (budgets_recorded_ & Bit(*budget)) != 0) {
    return call.Proceed();
  }
  budgets_recorded_ |= Bit(*budget);
  Judgement judgement;
  ConcludeCallEnd(*budget, call.depth(), &judgement);
  // A trap is what it is; what ends the Store is said instead of it.
  if (!EndsStore(judgement.verdict)) return call.Proceed();
  return call.Refuse(std::move(judgement.violation));
}

void PolicyHook::ConcludeCallEnd(Budget budget, uint32_t depth,
                                 Judgement* judgement) {
  const EffectiveBudgets::Entry& entry = *budgets()[budget];
  size_t policy = 0;
  while (&rules_->policy(policy) != entry.policy) ++policy;
  matches_.clear();
  texts_.clear();
  texts_.push_back(absl::StrCat("the call used up ", BudgetName(budget), ", ",
                                ShowBudget(budget, entry.max)));
  matches_.push_back(MatchOf(entry.policy->budget_exceeded(budget), policy,
                             entry.on_exceed, Mode::kEnforce, texts_.back()));
  DecisionRecord record;
  record.subject = DecisionRecord::Subject::kCallEnd;
  record.budget = BudgetName(budget);
  record.depth = depth;
  *judgement = Conclude(record);
}

// --- Events ------------------------------------------------------------------

void PolicyHook::TellHeldEvents() {
  if (events_held_back_ == 0 || !budgets()[Budget::kEventsPerCall]) return;
  const uint64_t held = std::exchange(events_held_back_, 0);
  constexpr Budget kBudget = Budget::kEventsPerCall;
  const EffectiveBudgets::Entry& entry = *budgets()[kBudget];
  size_t policy = 0;
  while (&rules_->policy(policy) != entry.policy) ++policy;
  matches_.clear();
  texts_.clear();
  texts_.push_back(absl::StrCat(held,
                                " more events of the call are counted "
                                "and not told: ",
                                BudgetName(kBudget), " is ", entry.max));
  // It stops nothing, whatever on_exceed says.
  matches_.push_back(MatchOf(entry.policy->budget_exceeded(kBudget), policy,
                             Verdict::kLog, Mode::kEnforce, texts_.back()));
  DecisionRecord record;
  record.subject = DecisionRecord::Subject::kCallEnd;
  record.budget = BudgetName(kBudget);
  record.suppressed = held;
  Conclude(record);
}

// --- Prices ------------------------------------------------------------------

std::optional<Disposition> PolicyHook::Charge(CallContext& call,
                                              Linked& linked) {
  const ImportPlan& plan = *linked.plan;
  const auto fault = [&](absl::string_view what) {
    matches_.clear();
    texts_.clear();
    AddEngineFault(EngineFault::kCallNotPaid, &plan, what);
    return ConcludeHostCall(call, &linked, false);
  };
  uint64_t bytes = 0;
  if (!plan.paid_arguments.empty()) {
    const absl::StatusOr<uint64_t> paid =
        BytesOfArguments(plan.paid_arguments, *plan.function->type, call);
    if (!paid.ok()) return fault(paid.status().message());
    bytes = *paid;
  }
  uint64_t fuel = 0;
  for (const ImportPlan::Price& price : plan.prices) {
    if (price.mode != Mode::kEnforce) continue;
    fuel = std::max(fuel, FuelOf(price.price, bytes));
  }
  for (const ImportPlan::Price& price : plan.prices) {
    if (price.mode == Mode::kEnforce) continue;
    const uint64_t would = FuelOf(price.price, bytes);
    if (would <= fuel) continue;
    for (std::vector<uint64_t>* sums :
         {&audit_price_, &audit_price_of_store_}) {
      uint64_t& sum = (*sums)[price.policy];
      sum = std::min(kPriceMax, sum + (would - fuel));
    }
  }
  if (fuel == 0) return std::nullopt;
  const absl::Status taken = call.fuel().Consume(fuel);
  if (taken.ok()) return std::nullopt;
  if (!absl::IsResourceExhausted(taken)) return fault(taken.message());
  // It ends as if the guest had burnt all there is.
  if (const std::optional<uint64_t> left = call.fuel().left()) {
    // What is left can be taken.
    static_cast<void>(call.fuel().Consume(*left).ok());
  }
  ++linked.stopped;
  return call.Refuse(Fuel::Spent());
}

// --- Growth ------------------------------------------------------------------

std::optional<Budget> PolicyHook::BudgetOver(const GrowthEvent& event) const {
  const auto elements = budgets().Max(Budget::kTableElementsTotal);
  if (event.kind == GrowthEvent::Kind::kTable && elements &&
      event.StoreTableElementsAfter() > *elements) {
    return Budget::kTableElementsTotal;
  }
  // Tables take bytes, too.
  const auto bytes = budgets().Max(Budget::kMemoryBytesTotal);
  if (bytes && event.StoreBytesAfter() > *bytes) {
    return Budget::kMemoryBytesTotal;
  }
  return std::nullopt;
}

std::optional<Budget> PolicyHook::AddGrowthBudget(const GrowthEvent& event,
                                                  bool is_allowed) {
  if (is_allowed) return std::nullopt;
  const bool is_memory = event.kind == GrowthEvent::Kind::kMemory;
  // Which budget the limiter held, if it was one of ours.
  const std::optional<Budget> over = BudgetOver(event);
  if (!over.has_value()) return std::nullopt;
  const Budget budget = *over;
  if ((budgets_recorded_ & Bit(budget)) != 0) return std::nullopt;
  budgets_recorded_ |= Bit(budget);

  const EffectiveBudgets::Entry& entry = *budgets()[budget];
  size_t policy = 0;
  while (&rules_->policy(policy) != entry.policy) ++policy;
  texts_.push_back(absl::StrCat(
      is_memory ? "a memory" : "a table", " may not grow from ", event.current,
      " to ", event.desired, is_memory ? " bytes" : " elements", ": ",
      BudgetName(budget), " is ", entry.max));
  // Refusing is the answer of the guest's own instruction set, so not a trap.
  const Verdict verdict =
      EndsStore(entry.on_exceed) ? entry.on_exceed : Verdict::kDeny;
  matches_.push_back(MatchOf(entry.policy->budget_exceeded(budget), policy,
                             verdict, Mode::kEnforce, texts_.back()));
  matches_.back().guest_errno = 0;
  return budget;
}

void PolicyHook::AuditGrowth(const GrowthEvent& event) {
  const bool is_memory = event.kind == GrowthEvent::Kind::kMemory;
  const std::pair<Budget, uint64_t> uses[] = {
      {Budget::kMemoryBytesTotal, event.StoreBytesAfter()},
      {Budget::kTableElementsTotal,
       is_memory ? 0 : event.StoreTableElementsAfter()},
  };
  for (const auto& [budget, used] : uses) {
    if ((audit_growth_recorded_ & Bit(budget)) != 0) continue;
    for (size_t p = 0; p < rules_->policies().size(); ++p) {
      const auto max = rules_->policy(p).budgets()[budget];
      if (rules_->mode_of(p) != Mode::kAudit || !max || used <= *max) continue;
      audit_growth_recorded_ |= Bit(budget);
      RecordAuditBudget(is_memory ? DecisionRecord::Subject::kMemoryGrow
                                  : DecisionRecord::Subject::kTableGrow,
                        p, budget, used);
    }
  }
}

void PolicyHook::ReportHandle(uint64_t number, bool refused) {
  constexpr Budget kBudget = Budget::kOpenHandles;
  if (latched_ != nullptr || (budgets_recorded_ & Bit(kBudget)) != 0) return;
  if (!refused) {
    for (size_t p = 0; p < rules_->policies().size(); ++p) {
      const auto max = rules_->policy(p).budgets()[kBudget];
      if (rules_->mode_of(p) != Mode::kAudit || !max || number <= *max)
        continue;
      budgets_recorded_ |= Bit(kBudget);
      RecordAuditBudget(DecisionRecord::Subject::kCallEnd, p, kBudget, number);
    }
    return;
  }
  const std::optional<EffectiveBudgets::Entry>& entry = budgets()[kBudget];
  // Else the limit was somebody else's.
  if (!entry.has_value() || number <= entry->max) return;
  budgets_recorded_ |= Bit(kBudget);
  size_t policy = 0;
  while (&rules_->policy(policy) != entry->policy) ++policy;
  matches_.clear();
  texts_.clear();
  texts_.push_back(absl::StrCat("no more handles may be open at once: ",
                                BudgetName(kBudget), " is ", entry->max));
  // The guest gets the errno of a system with too many open files, so no trap.
  matches_.push_back(
      MatchOf(entry->policy->budget_exceeded(kBudget), policy,
              EndsStore(entry->on_exceed) ? entry->on_exceed : Verdict::kDeny,
              Mode::kEnforce, texts_.back()));
  if (!EndsStore(entry->on_exceed)) matches_.back().guest_errno = kErrnoMfile;
  DecisionRecord record;
  record.subject = DecisionRecord::Subject::kCallEnd;
  record.budget = BudgetName(kBudget);
  Conclude(record);
}

bool PolicyHook::measures_cpu() const {
  for (size_t p = 0; p < rules_->policies().size(); ++p) {
    if (rules_->mode_of(p) == Mode::kAudit &&
        rules_->policy(p).budgets()[Budget::kCpuPerCall]) {
      return true;
    }
  }
  return false;
}

void PolicyHook::ReportUsage(const Usage& usage) {
  TellHeldEvents();
  const auto nanos = [](absl::Duration time) {
    return static_cast<uint64_t>(
        std::max(int64_t{0}, absl::ToInt64Nanoseconds(time)));
  };
  std::pair<Budget, uint64_t> used[] = {
      {Budget::kFuelPerCall, 0},
      {Budget::kFuelPerStore, 0},
      {Budget::kHostBytesPerCall, usage.host_bytes},
      {Budget::kWallPerCall, nanos(usage.wall)},
      {Budget::kCpuPerCall, nanos(usage.cpu)},
      {Budget::kEventsPerCall, events_},
  };
  for (size_t p = 0; p < rules_->policies().size(); ++p) {
    if (rules_->mode_of(p) != Mode::kAudit) continue;
    used[0].second = usage.fuel + audit_price_[p];
    used[1].second = usage.fuel_of_store + audit_price_of_store_[p];
    for (const auto& [budget, amount] : used) {
      const auto max = rules_->policy(p).budgets()[budget];
      if (max && amount > *max) {
        RecordAuditBudget(DecisionRecord::Subject::kCallEnd, p, budget, amount);
      }
    }
  }
}

void PolicyHook::RecordAuditBudget(DecisionRecord::Subject subject,
                                   size_t policy, Budget budget,
                                   uint64_t used) {
  const Policy& of = rules_->policy(policy);
  matches_.clear();
  texts_.clear();
  texts_.push_back(absl::StrCat("used ", ShowBudget(budget, used), ", and ",
                                BudgetName(budget), " is ",
                                ShowBudget(budget, *of.budgets()[budget])));
  // Refused, and no trap.
  const bool refused = subject == DecisionRecord::Subject::kMemoryGrow ||
                       subject == DecisionRecord::Subject::kTableGrow ||
                       budget == Budget::kOpenHandles;
  const Verdict verdict = budget == Budget::kEventsPerCall ? Verdict::kLog
                          : refused && !EndsStore(of.budgets().on_exceed)
                              ? Verdict::kDeny
                              : of.budgets().on_exceed;
  matches_.push_back(MatchOf(of.budget_exceeded(budget), policy, verdict,
                             Mode::kAudit, texts_.back()));
  matches_.back().guest_errno = 0;
  DecisionRecord record;
  record.subject = subject;
  record.budget = BudgetName(budget);
  Conclude(record);
}

}  // namespace callgate::policy
