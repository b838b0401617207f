// Calls back when a descriptor is ready or a time has come: one thread for any
// number of waits.
//
// Any thread. Callbacks come on the poller's thread with no lock held, one at a
// time, and must be short.

#ifndef CALLGATE_RUNTIME_EXECUTOR_POLLER_H_
#define CALLGATE_RUNTIME_EXECUTOR_POLLER_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"

namespace callgate {

class Poller {
 public:
  using Clock = std::chrono::steady_clock;

  // Unavailable when the process has too many files open.
  static absl::StatusOr<std::unique_ptr<Poller>> Start();
  // Callbacks that have not come never come.
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Names a wait; never 0 and never reused.
  using Id = uint64_t;
  enum class For : uint8_t { kReading, kWriting };

  // Calls `callback` once: when `fd`, unless it is -1, can be read or written
  // without waiting, or is at its end, or cannot be waited for; or at `until`,
  // unless that is Clock::time_point::max(). `fd` must stay open until then or
  // until Cancel. Several waits for the same descriptor are fine.
  Id Watch(int fd, For what, Clock::time_point until,
           std::function<void()> callback);
  // After this the callback does not run: it is taken back, or has ended. A
  // callback may cancel itself, which changes nothing.
  void Cancel(Id id);

  // Waits in progress.
  size_t size() const;

 private:
  Poller(int epoll_fd, int timer_fd);

  struct Wait {
    int fd = -1;      // what epoll watches
    int own_fd = -1;  // the same if it is a duplicate of ours
    Clock::time_point until;
    std::function<void()> callback;
  };
  using Waits = std::unordered_map<Id, Wait>;

  void Run();
  void Fire(Id id);
  // Forgets the wait. With the lock held.
  std::function<void()> Remove(Waits::iterator at);
  // Sets the alarm to the earliest time. With the lock held.
  void SetAlarm();
  void SetAlarmTo(Clock::time_point when) const;

  const int epoll_fd_;
  const int timer_fd_;

  mutable std::mutex mu_;
  // Guarded by mu_.
  Waits waits_;
  std::set<std::pair<Clock::time_point, Id>> due_;
  Clock::time_point alarm_ = Clock::time_point::max();
  Id next_id_ = 1;
  Id running_ = 0;  // 0: no callback
  bool stopping_ = false;
  std::condition_variable ran_;

  std::thread thread_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_EXECUTOR_POLLER_H_
