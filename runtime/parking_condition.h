// A condition variable on which threads block and fibers park.
//
// Used with one std::mutex, as std::condition_variable is. Notify is called
// with the mutex held: then a fiber that it wakes cannot have ended.

#ifndef CALLGATE_RUNTIME_PARKING_CONDITION_H_
#define CALLGATE_RUNTIME_PARKING_CONDITION_H_

#include <condition_variable>
#include <list>
#include <mutex>

#include "absl/time/time.h"
#include "runtime/parker.h"

namespace callgate {

class ParkingCondition {
 public:
  ParkingCondition() = default;
  ParkingCondition(const ParkingCondition&) = delete;
  ParkingCondition& operator=(const ParkingCondition&) = delete;

  // Gives `lock` up while it waits. Returns after NotifyAll, at `deadline`, or
  // for no reason, so callers look again.
  void WaitUntil(std::unique_lock<std::mutex>& lock, absl::Time deadline);

  // With the mutex held.
  void NotifyAll();

 private:
  std::condition_variable threads_;
  std::list<Parker*> fibers_;  // guarded by the mutex
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_PARKING_CONDITION_H_
