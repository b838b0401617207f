// One thing after another: step 0, later step 1, ..., the last at most `within`
// after the first, and nothing of `unless` in between.
//
// Events are not used up: every event that ends such a sequence says so, since
// a guest whose first attempt was stopped may just try again. What matters of
// all the ways in which i steps can have been done is the one that began last,
// because it has the most time left; so memory is one attempt for each step,
// and the answer is that of looking through all events.
//
// One thread at a time. Allocates nothing.

#ifndef CALLGATE_POLICY_TEMPORAL_SEQUENCE_H_
#define CALLGATE_POLICY_TEMPORAL_SEQUENCE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "policy/temporal/moment.h"

namespace callgate::policy::temporal {

class Sequence {
 public:
  static constexpr size_t kStepsMax = 8;

  // The events that were the steps of an attempt, by the numbers they were
  // given, and when the first of them was.
  struct Attempt {
    Moment began = 0;
    std::array<uint64_t, kStepsMax> events{};
  };

  // `steps` from 1 to kStepsMax.
  Sequence(size_t steps, Span within);

  // An event, not before the last one. Bit i of `steps_matched`: it can be step
  // i. One that is of `unless` ends what began before it, but for a sequence
  // that it completes itself: nothing lies between an event and itself. Returns
  // the sequence that this event completed.
  std::optional<Attempt> OnEvent(Moment now, uint32_t steps_matched,
                                 bool unless_matched, uint64_t event);

  void Clear();

 private:
  size_t steps_;
  Span within_;
  // done_[i]: of the attempts with i + 1 steps the one that began last.
  std::array<Attempt, kStepsMax> done_{};
  std::array<bool, kStepsMax> is_open_{};
};

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_SEQUENCE_H_
