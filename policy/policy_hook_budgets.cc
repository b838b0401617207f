// The budgets half of the hook: what a call from outside and a growth may use,
// and what is recorded when one of them is passed.

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/policy_hook.h"

namespace callgate::policy {
namespace {

constexpr uint32_t Bit(Budget b) { return 1u << static_cast<uint32_t>(b); }

// "2000000000" of wall_per_call reads badly.
std::string ShowBudget(Budget budget, uint64_t amount) {
  if (budget != Budget::kWallPerCall) return absl::StrCat(amount);
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
    case TrapCode::kHostBytesExceeded:
      budget = Budget::kHostBytesPerCall;
      break;
    case TrapCode::kCallStackExhausted:
      budget = Budget::kCallDepth;
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

// --- Growth ------------------------------------------------------------------

bool PolicyHook::OnGrowth(const GrowthEvent& event) {
  if (latched_ != nullptr) {
    ++refused_after_end_;
    return false;
  }
  const bool is_memory = event.kind == GrowthEvent::Kind::kMemory;
  // The limiter holds what the Store was made with; policies that came later
  // may allow less. Of tables only the one that grows is known.
  const auto limit = budgets().Max(is_memory ? Budget::kMemoryBytesTotal
                                             : Budget::kTableElementsTotal);
  const uint64_t after =
      is_memory ? event.store_bytes + (event.desired - event.current)
                : event.desired;
  const bool refused_here = event.allowed && limit && after > *limit;
  if (event.allowed && !refused_here) {
    AuditGrowth(event);
    return true;
  }
  // Which budget the limiter held, if it was one of ours.
  Budget budget = Budget::kMemoryBytesTotal;
  if (is_memory) {
    const auto max = budgets().Max(budget);
    if (!max || event.store_bytes + (event.desired - event.current) <= *max) {
      return true;
    }
  } else {
    if (budgets()[Budget::kTableElementsTotal]) {
      budget = Budget::kTableElementsTotal;
    }
    if (!budgets()[budget]) return true;
  }
  if ((budgets_recorded_ & Bit(budget)) != 0) return !refused_here;
  budgets_recorded_ |= Bit(budget);

  const EffectiveBudgets::Entry& entry = *budgets()[budget];
  size_t policy = 0;
  while (&rules_->policy(policy) != entry.policy) ++policy;
  matches_.clear();
  texts_.clear();
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
  DecisionRecord record;
  record.subject = is_memory ? DecisionRecord::Subject::kMemoryGrow
                             : DecisionRecord::Subject::kTableGrow;
  record.budget = BudgetName(budget);
  Conclude(record);
  return latched_ == nullptr && !refused_here;
}

void PolicyHook::AuditGrowth(const GrowthEvent& event) {
  const bool is_memory = event.kind == GrowthEvent::Kind::kMemory;
  const Budget budget =
      is_memory ? Budget::kMemoryBytesTotal : Budget::kTableElementsTotal;
  if ((audit_growth_recorded_ & Bit(budget)) != 0) return;
  // Of tables only the one that grows is known.
  const uint64_t used =
      is_memory ? event.store_bytes + (event.desired - event.current)
                : event.desired;
  for (size_t p = 0; p < rules_->policies().size(); ++p) {
    const auto max = rules_->policy(p).budgets()[budget];
    if (rules_->mode_of(p) != Mode::kAudit || !max || used <= *max) continue;
    audit_growth_recorded_ |= Bit(budget);
    RecordAuditBudget(is_memory ? DecisionRecord::Subject::kMemoryGrow
                                : DecisionRecord::Subject::kTableGrow,
                      p, budget, used);
  }
}

void PolicyHook::ReportUsage(const Usage& usage) {
  const std::pair<Budget, uint64_t> used[] = {
      {Budget::kFuelPerCall, usage.fuel},
      {Budget::kFuelPerStore, usage.fuel_of_store},
      {Budget::kHostBytesPerCall, usage.host_bytes},
      {Budget::kWallPerCall,
       static_cast<uint64_t>(
           std::max(int64_t{0}, absl::ToInt64Nanoseconds(usage.wall)))},
  };
  for (size_t p = 0; p < rules_->policies().size(); ++p) {
    if (rules_->mode_of(p) != Mode::kAudit) continue;
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
  const bool growth = subject == DecisionRecord::Subject::kMemoryGrow ||
                      subject == DecisionRecord::Subject::kTableGrow;
  const Verdict verdict = growth && !EndsStore(of.budgets().on_exceed)
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
