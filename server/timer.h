// Calls things back at a time: ends uploads that stall, Stores that idle.
//
// Times are said by the machine's clock and waited for by one that nobody sets:
// a clock that goes back delays nothing.
//
// One thread for all; callbacks must be short. Any thread.

#ifndef CALLGATE_SERVER_TIMER_H_
#define CALLGATE_SERVER_TIMER_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace callgate {

class Timer {
 public:
  // `clock` is the machine's.
  explicit Timer(absl::Time (*clock)() = absl::Now);
  // Callbacks that are not due yet never come.
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Names a callback; never reused.
  using Id = uint64_t;

  Id Schedule(absl::Time when, std::function<void()> callback);
  // After this the callback does not run: it is taken back, or has ended. A
  // callback may cancel itself, which changes nothing.
  void Cancel(Id id);

 private:
  void Run();

  using Due = std::chrono::steady_clock::time_point;

  absl::Time (*const clock_)();
  // Not absl::Mutex, whose deadlines are of the clock that may be set.
  std::mutex mu_;
  // The rest is guarded by mu_. In order of time.
  std::map<std::pair<Due, Id>, std::function<void()>> due_;
  std::map<Id, Due> times_;
  Id next_id_ = 1;
  Id running_ = 0;  // 0: none
  bool stopping_ = false;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_TIMER_H_
