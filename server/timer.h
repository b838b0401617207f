// Calls things back at a time: ends uploads that stall, Stores that idle.
//
// One thread for all; callbacks must be short. Any thread.

#ifndef CALLGATE_SERVER_TIMER_H_
#define CALLGATE_SERVER_TIMER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace callgate {

class Timer {
 public:
  Timer();
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

  absl::Mutex mu_;
  // In order of time.
  std::map<std::pair<absl::Time, Id>, std::function<void()>> due_
      ABSL_GUARDED_BY(mu_);
  std::map<Id, absl::Time> times_ ABSL_GUARDED_BY(mu_);
  Id next_id_ ABSL_GUARDED_BY(mu_) = 1;
  Id running_ ABSL_GUARDED_BY(mu_) = 0;  // 0: none
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  absl::CondVar changed_;
  std::thread thread_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_TIMER_H_
