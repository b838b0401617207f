#include "runtime/processor_budget.h"

#include <algorithm>

#include "runtime/parker.h"

namespace callgate {
namespace {

// A guest that shares its processor comes closer and closer to the end of its
// budget; this often it is looked at, however close.
constexpr std::chrono::microseconds kLookEvery(100);
// No budget is longer; sums do not wrap.
constexpr absl::Duration kBudgetMax = absl::Hours(24 * 366);

}  // namespace

std::chrono::nanoseconds ProcessorTime() {
  Parker* const parker = Parker::Current();
  return parker != nullptr ? parker->ProcessorTime()
                           : Parker::ProcessorTimeOfThread();
}

ProcessorBudget::Outer ProcessorBudget::Tighten(
    std::optional<absl::Duration> budget) {
  Outer outer;
  outer.end = end_;
  outer.next_look = next_look_;
  if (!budget.has_value()) return outer;
  outer.began = ProcessorTime();
  if (*budget >= kBudgetMax) return outer;
  const std::chrono::nanoseconds left =
      absl::ToChronoNanoseconds(std::max(*budget, absl::ZeroDuration()));
  if (*outer.began + left < end_) {
    end_ = *outer.began + left;
    next_look_ = Clock::now() + left;
  }
  return outer;
}

absl::Duration ProcessorBudget::Release(const Outer& outer) {
  end_ = outer.end;
  next_look_ = outer.next_look;
  if (!outer.began.has_value()) return absl::ZeroDuration();
  return absl::FromChrono(ProcessorTime() - *outer.began);
}

bool ProcessorBudget::Look() {
  const Clock::time_point now = Clock::now();
  if (now < next_look_) return false;
  const std::chrono::nanoseconds used = ProcessorTime();
  if (used >= end_) return true;
  next_look_ =
      now + std::max<std::chrono::nanoseconds>(end_ - used, kLookEvery);
  return false;
}

}  // namespace callgate
