#include "runtime/fuel.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"

namespace callgate {

std::optional<uint64_t> Fuel::Until(uint64_t end, uint64_t now) {
  if (end == kNever) return std::nullopt;
  return end - std::min(end, now);
}

std::optional<uint64_t> Fuel::tank() const { return Until(tank_end_, used_); }
std::optional<uint64_t> Fuel::left() const { return Until(end_, used_); }

absl::Status Fuel::CheckMetered() const {
  if (metered_) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this Engine's code does not count fuel, so that it can be neither set "
      "nor consumed");
}

absl::Status Fuel::Set(std::optional<uint64_t> units) {
  if (absl::Status metered = CheckMetered(); !metered.ok()) return metered;
  if (units.value_or(0) > kTankMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a tank holds at most ", kTankMax, " units of fuel, not ", *units));
  }
  tank_end_ = units.has_value() ? used_ + *units : kNever;
  Aim();
  return absl::OkStatus();
}

absl::Status Fuel::Add(uint64_t units) {
  if (absl::Status metered = CheckMetered(); !metered.ok()) return metered;
  const std::optional<uint64_t> before = tank();
  if (!before.has_value()) {
    return absl::FailedPreconditionError(
        "the Store's tank has no bound that fuel could be added to: set one "
        "first");
  }
  if (units > kTankMax - *before) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tank holds at most ", kTankMax, " units of fuel, and ",
                     *before, " are in it: not ", units, " more"));
  }
  return Set(*before + units);
}

absl::Status Fuel::Consume(uint64_t units) {
  if (absl::Status metered = CheckMetered(); !metered.ok()) return metered;
  // Without a bound there is still one, so that no sum ever wraps.
  const uint64_t left =
      end_ == kNever ? kTankMax - std::min(kTankMax, used_) : end_ - used_;
  if (units > left) {
    return absl::ResourceExhaustedError(absl::StrCat(
        units, " units of fuel are to be consumed, and ", left, " are left"));
  }
  used_ += units;
  return absl::OkStatus();
}

ErrorRef Fuel::Spent() {
  return std::make_shared<TrapError>(TrapCode::kOutOfFuel);
}

uint64_t Fuel::Tighten(std::optional<uint64_t> budget) {
  const uint64_t outer = budget_end_;
  if (budget.has_value() && *budget < kNever - used_) {
    budget_end_ = std::min(budget_end_, used_ + *budget);
    Aim();
  }
  return outer;
}

void Fuel::Release(uint64_t outer) {
  budget_end_ = outer;
  Aim();
}

}  // namespace callgate
