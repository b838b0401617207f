// Processor time, and what a Store's calls may use of it.
//
// Time on a processor is that of the calling thread, or of the fiber where it
// runs on one: a fiber that is parked, or has made room for another, uses none.
//
// Reading that clock takes a system call, and a guest is asked often whether
// its time is up. So it is read only where the time that has passed since the
// last reading could have used up what was left: for a guest that does nothing
// but compute, a few times in a call.
//
// Threads: the Store's. A call begins and ends on one thread or fiber.

#ifndef CALLGATE_RUNTIME_PROCESSOR_BUDGET_H_
#define CALLGATE_RUNTIME_PROCESSOR_BUDGET_H_

#include <chrono>
#include <optional>

#include "absl/time/time.h"

namespace callgate {

// Of the calling fiber or thread, from any origin.
std::chrono::nanoseconds ProcessorTime();

// The budgets of the calls that are live: those of nested calls can only be
// lower than what the calls around them have left.
class ProcessorBudget {
 public:
  // What a call found, and gives back.
  struct Outer {
    std::chrono::nanoseconds end{};
    std::chrono::steady_clock::time_point next_look;
    // Of the call itself; nothing: it is not measured.
    std::optional<std::chrono::nanoseconds> began;
  };

  // Puts a budget on top of those that are live. Nothing: no budget, and
  // nothing is measured. Infinite: it is measured.
  Outer Tighten(std::optional<absl::Duration> budget);
  // What the call has used, if it was measured.
  absl::Duration Release(const Outer& outer);

  // Whether a budget is used up.
  bool Spent() { return end_ != kNever && Look(); }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::nanoseconds kNever =
      std::chrono::nanoseconds::max();

  bool Look();

  // The ProcessorTime at which the nearest budget ends.
  std::chrono::nanoseconds end_ = kNever;
  // When it could have come, if nobody else had the processor.
  Clock::time_point next_look_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_PROCESSOR_BUDGET_H_
