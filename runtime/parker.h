// Waiting without a thread: what code on a fiber may ask of whoever runs it.
//
// Stores run on ordinary threads, where waiting blocks the thread, or on fibers
// of an executor (runtime/executor), where it parks the fiber: its stack stays
// as it is and its thread goes on with another one. The runtime knows which by
// asking for the current Parker. A parked fiber may go on on another thread, so
// across Park, and across YieldIfDue,
//   - no lock is held,
//   - nothing of the thread's own is kept, such as the address of errno,
//   - no exception is being handled.

#ifndef CALLGATE_RUNTIME_PARKER_H_
#define CALLGATE_RUNTIME_PARKER_H_

#include <chrono>

#include "absl/time/time.h"

namespace callgate {

class Parker {
 public:
  using Clock = std::chrono::steady_clock;

  // Of the fiber that the caller runs on; null on an ordinary thread. The same
  // for as long as the fiber lives, whatever thread it is on.
  static Parker* Current();

  // Parks the fiber, which must be the calling one, until `fd` is readable or
  // at its end (-1: never), `until` has come, or Wake was called since the last
  // Park. It may return for no reason at all, so callers look again.
  virtual void Park(int fd, Clock::time_point until) = 0;

  // Ends the Park in progress, or else the next one. Any thread, as long as the
  // fiber cannot end: see ParkingCondition for how to be sure of it.
  virtual void Wake() = 0;

  // Lets others have the thread, if they wait for one and the calling fiber has
  // had it for long.
  virtual void YieldIfDue() = 0;

  // When it will be `when`; Clock::time_point::max() for what is further away
  // than anybody waits for.
  static Clock::time_point SteadyTime(absl::Time when);

  // Processor time of the calling fiber, on whatever threads it was, from any
  // origin. Counts from the first time that it is asked, so that fibers which
  // nobody asks have no clock to read.
  virtual std::chrono::nanoseconds ProcessorTime() = 0;

  // Of the calling thread, whatever runs on it.
  static std::chrono::nanoseconds ProcessorTimeOfThread();

  // For executors: what Current answers on this thread.
  static void SetCurrent(Parker* parker);

 protected:
  ~Parker() = default;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_PARKER_H_
