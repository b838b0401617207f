// Makes running guests look at their deadline, where they do not count fuel and
// would not look by themselves.
//
// One thread for any number of guests; it sleeps while there are none. A guest
// that runs again and again is known to it from before, and takes no lock. Any
// thread, but each guest one at a time.

#ifndef CALLGATE_RUNTIME_NATIVE_TICKER_H_
#define CALLGATE_RUNTIME_NATIVE_TICKER_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "absl/container/flat_hash_set.h"

namespace callgate::native {

class Ticker {
 public:
  // One that may run. Not longer than the ticker, and no longer than
  // `stack_limit`.
  class Guest {
   public:
    Guest(Ticker& ticker, std::atomic<uint64_t>& stack_limit)
        : ticker_(ticker), stack_limit_(stack_limit) {}
    ~Guest() { ticker_.Forget(*this); }
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;

    // From here on `stack_limit` is set to all ones every period.
    void Begin() {
      State idle = State::kIdle;
      if (!state_.compare_exchange_strong(idle, State::kRunning)) {
        ticker_.Add(*this);
      }
    }
    // It may be set once more, for what was seen to run just before.
    void End() { state_.store(State::kIdle, std::memory_order_release); }

   private:
    friend class Ticker;

    // Idle ones are still in the ticker's list, until it finds them so.
    enum class State : uint8_t { kUnknown, kIdle, kRunning };

    Ticker& ticker_;
    std::atomic<uint64_t>& stack_limit_;
    std::atomic<State> state_{State::kUnknown};
    bool was_added_ = false;  // ever
  };

  explicit Ticker(
      std::chrono::milliseconds period = std::chrono::milliseconds(1))
      : period_(period) {}
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  void Add(Guest& guest);
  void Forget(Guest& guest);
  void Run();

  const std::chrono::milliseconds period_;
  std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_.
  absl::flat_hash_set<Guest*> known_;
  bool asleep_ = false;  // until it is notified
  bool ending_ = false;
  std::thread thread_;  // guarded by mu_
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_TICKER_H_
