#include "policy/temporal/sequence.h"

#include "runtime/check.h"

namespace callgate::policy::temporal {

Sequence::Sequence(size_t steps, Span within) : steps_(steps), within_(within) {
  CALLGATE_CHECK(steps >= 1 && steps <= kStepsMax, "the loader counts steps");
}

void Sequence::Clear() { is_open_.fill(false); }

std::optional<Sequence::Attempt> Sequence::OnEvent(Moment now,
                                                   uint32_t steps_matched,
                                                   bool unless_matched,
                                                   uint64_t event) {
  std::optional<Attempt> completed;
  // From the last step down, so that an event is one step of an attempt only.
  for (size_t i = steps_; i-- > 0;) {
    const bool is_last = i + 1 == steps_;
    if ((steps_matched >> i & 1) == 0) continue;
    Attempt attempt;
    attempt.began = now;
    if (i > 0) {
      if (!is_open_[i - 1]) continue;
      attempt = done_[i - 1];
    }
    attempt.events[i] = event;
    if (is_last) {
      if (IsWithin(attempt.began, now, within_)) completed = attempt;
      continue;
    }
    // Whatever has come further began no later than the latest that has come
    // this far, so what is there already is none to keep.
    done_[i] = attempt;
    is_open_[i] = true;
  }
  if (unless_matched) {
    // But for what it begins.
    const bool begins = steps_ > 1 && (steps_matched & 1) != 0;
    Clear();
    is_open_[0] = begins;
  }
  return completed;
}

}  // namespace callgate::policy::temporal
