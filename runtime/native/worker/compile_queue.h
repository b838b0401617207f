// Who compiles next: a bounded number at once, the others in order of arrival,
// foreground before background.
//
// Background calls leave one place free, where there are two or more, so that
// slow ones cannot make all foreground calls wait; and each priority has a
// queue of its own, so that neither fills up the other's. Any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_QUEUE_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_QUEUE_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>

#include "absl/status/status.h"

namespace callgate::native {

enum class Priority {
  kForeground,  // somebody waits for it
  kBackground,
};

class CompileQueue {
 public:
  // `places` at once, and up to `waiting_max` of each priority waiting.
  CompileQueue(size_t places, size_t waiting_max);

  // Blocks until it is the caller's turn; every OK is followed by one Leave.
  // ResourceExhausted: too many wait already. Cancelled: closed.
  absl::Status Enter(Priority priority);
  void Leave(Priority priority);

  // How many wait now.
  size_t waiting(Priority priority) const;

  // Sends everybody who waits, now or later, away.
  void Close();

 private:
  struct Waiter {
    std::condition_variable changed;
    bool admitted = false;
  };

  void Admit();

  const size_t places_;
  const size_t background_places_;
  const size_t waiting_max_;

  mutable std::mutex mu_;
  // Guarded by mu_.
  bool closed_ = false;
  size_t taken_ = 0;
  size_t taken_by_background_ = 0;
  std::deque<Waiter*> foreground_;
  std::deque<Waiter*> background_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_QUEUE_H_
