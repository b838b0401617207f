#include "policy/temporal/window_sum.h"

#include <algorithm>
#include <limits>

#include "runtime/check.h"

namespace callgate::policy::temporal {
namespace {

constexpr int64_t kSlots = WindowSum::kParts + 1;

// Rounded down also below zero.
int64_t PartOf(Moment moment, Span part) {
  const int64_t quotient = moment / part;
  return moment % part < 0 ? quotient - 1 : quotient;
}

size_t SlotOf(int64_t part) {
  const int64_t slot = part % kSlots;
  return static_cast<size_t>(slot < 0 ? slot + kSlots : slot);
}

uint64_t Add(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum)
             ? std::numeric_limits<uint64_t>::max()
             : sum;
}

}  // namespace

WindowSum::WindowSum(uint64_t threshold, Span within)
    : threshold_(threshold),
      // Rounded up, so that kParts of them are no shorter than the window.
      part_(within / static_cast<Span>(kParts) + 1) {
  CALLGATE_CHECK(within >= 0 && within <= kWithinMax,
                 "the loader bounds durations");
}

Span WindowSum::longest() const { return part_ * kSlots; }

void WindowSum::Clear() {
  sums_.fill(0);
  is_empty_ = true;
}

void WindowSum::Advance(Moment now) {
  const int64_t part = PartOf(now, part_);
  if (is_empty_) {
    is_empty_ = false;
    current_ = part;
    return;
  }
  // A clock that went back stands still here.
  if (part <= current_) return;
  int64_t gone;
  if (__builtin_sub_overflow(part, current_, &gone) || gone >= kSlots) {
    sums_.fill(0);
    current_ = part;
    return;
  }
  while (current_ < part) sums_[SlotOf(++current_)] = 0;
}

bool WindowSum::OnAmount(Moment now, uint64_t amount) {
  Advance(now);
  uint64_t& sum = sums_[SlotOf(current_)];
  sum = Add(sum, amount);
  return SumAt(now) >= threshold_;
}

uint64_t WindowSum::SumAt(Moment now) {
  Advance(now);
  uint64_t sum = 0;
  for (const uint64_t part : sums_) sum = Add(sum, part);
  return sum;
}

}  // namespace callgate::policy::temporal
