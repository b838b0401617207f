// Who compiles next: a bounded number at once, foreground before background,
// and the accounts in turn.
//
// An account is whoever the modules are compiled for: a tenant. Of the accounts
// that wait, the one with the fewest compilations in progress is next, and
// among equals the one that was served longest ago; within an account it goes
// by arrival. So however much one of them asks for, another's first module
// waits for at most one compilation to end. Each account has bounds of its own
// for what waits and for the memory of what is in progress; the empty account
// is the program's own and has only the queue's.
//
// Background calls leave one place free, where there are two or more, so that
// slow ones cannot make all foreground calls wait; and each priority has a
// queue of its own, so that neither fills up the other's. Any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_QUEUE_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_QUEUE_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "absl/status/status.h"

namespace callgate::native {

enum class Priority {
  kForeground,  // somebody waits for it
  kBackground,
};

class CompileQueue {
 public:
  struct Bounds {
    // At once.
    size_t places = 1;
    // Waiting, of each priority.
    size_t waiting_max = 0;
    // Of these, of one account.
    size_t account_waiting_max = ~size_t{0};
    // Memory that the compilations in progress of one account may take
    // together; one alone may always.
    uint64_t account_memory_bytes_max = ~uint64_t{0};
  };

  // One compilation.
  struct Ticket {
    Priority priority = Priority::kForeground;
    std::string account;
    uint64_t memory_bytes = 0;
  };

  enum class Refusal { kNone, kQueueFull, kAccountFull, kClosed };
  struct Entered {
    Refusal refusal = Refusal::kNone;
    // ResourceExhausted: too many wait already. Cancelled: closed.
    absl::Status status;
  };

  explicit CompileQueue(const Bounds& bounds);

  // Blocks until it is the caller's turn; every OK is followed by one Leave
  // with the same ticket.
  Entered Enter(const Ticket& ticket);
  void Leave(const Ticket& ticket);

  // How many wait now.
  size_t waiting(Priority priority) const;

  // Sends everybody who waits, now or later, away.
  void Close();

 private:
  struct Waiter {
    std::condition_variable changed;
    const Ticket* ticket = nullptr;
    bool admitted = false;
  };
  // One that waits or has compilations in progress.
  struct Account {
    std::deque<Waiter*> foreground;
    std::deque<Waiter*> background;
    size_t running = 0;
    uint64_t memory_bytes = 0;
    // The admission that was its last; 0: none.
    uint64_t served = 0;
  };
  using Accounts = std::map<std::string, Account>;

  static std::deque<Waiter*>& QueueOf(Account& account, Priority priority);
  void Admit();
  // The account whose turn it is in this priority, or accounts_.end().
  Accounts::iterator Next(Priority priority);
  void ForgetIfIdle(Accounts::iterator account);

  const Bounds bounds_;
  const size_t background_places_;

  mutable std::mutex mu_;
  // Guarded by mu_.
  bool closed_ = false;
  size_t taken_ = 0;
  size_t taken_by_background_ = 0;
  size_t waiting_foreground_ = 0;
  size_t waiting_background_ = 0;
  uint64_t admissions_ = 0;
  Accounts accounts_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_QUEUE_H_
