// Who may use a Store next: one at a time, first come first served, with a
// bounded queue, and a way to end the waiting.
//
// Any thread.

#ifndef CALLGATE_SERVER_TURN_QUEUE_H_
#define CALLGATE_SERVER_TURN_QUEUE_H_

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/parking_condition.h"

namespace callgate {

// One attempt to have a turn, which somebody else may cancel.
class CallTicket {
 private:
  friend class TurnQueue;
  bool cancelled_ = false;  // guarded by the queue's lock
};

class TurnQueue {
 public:
  // `interrupt` stops whoever has the turn, `resume` takes that back. Both are
  // called with the queue's lock held.
  TurnQueue(size_t waiting_max, std::function<void()> interrupt,
            std::function<void()> resume);
  TurnQueue(const TurnQueue&) = delete;
  TurnQueue& operator=(const TurnQueue&) = delete;

  // Waits for the turn, on a fiber without its thread. FailedPrecondition
  // STORE_ENDED after Close, with its reason; ResourceExhausted QUEUE_FULL;
  // DeadlineExceeded; Cancelled.
  absl::Status Take(absl::Time deadline,
                    const std::shared_ptr<CallTicket>& ticket);
  // Ends the turn.
  void Give();
  // Whether the turn that is running now was cancelled.
  bool cancelled() const;

  // Ends the waiting of this ticket, or interrupts its turn. A ticket whose
  // turn has ended is nobody's.
  void Cancel(const std::shared_ptr<CallTicket>& ticket);

  // Interrupts the running turn for good, and refuses everybody else. The first
  // reason stays; false if there was one already.
  bool Close(std::string reason);
  bool closed() const;
  // Empty while open.
  std::string close_reason() const;
  bool busy() const;

 private:
  absl::Status ClosedStatus() const;

  const size_t waiting_max_;
  const std::function<void()> interrupt_;
  const std::function<void()> resume_;

  mutable std::mutex mu_;
  ParkingCondition changed_;
  bool busy_ = false;
  std::shared_ptr<CallTicket> running_;
  bool interrupted_ = false;  // interrupt_ was called for the running turn
  std::list<const void*> waiting_;  // in order of coming
  bool closed_ = false;
  std::string close_reason_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_TURN_QUEUE_H_
