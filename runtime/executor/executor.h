// Few threads for many calls into guests: each job runs on a fiber, so that one
// which waits (runtime/parker.h) costs a stack and no thread.
//
//   TryRun -> queued -> running -> ended
//               ^          |
//               +- parked <+   and straight back after a long turn
//
// Threads take what is queued first come first served. A fiber that never waits
// is asked to make room by whoever runs it (Parker::YieldIfDue), after
// `turn` when others are queued.
//
// Any thread. Jobs that block all the same, in a system call or on a lock, hold
// their thread meanwhile.

#ifndef CALLGATE_RUNTIME_EXECUTOR_EXECUTOR_H_
#define CALLGATE_RUNTIME_EXECUTOR_EXECUTOR_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/executor/poller.h"
#include "runtime/native/stack_pool.h"

namespace callgate {

class Executor {
 public:
  struct Options {
    size_t threads = 2;
    // Jobs that have not ended: queued, running and parked.
    size_t jobs_max = 64;
    // What a job may use of its stack, beneath the guests that it runs, which
    // have stacks of their own.
    uint64_t stack_bytes = 512 << 10;
    std::chrono::nanoseconds turn = std::chrono::milliseconds(10);
  };

  // Unavailable when the system refuses threads' signal stacks or descriptors.
  static absl::StatusOr<std::unique_ptr<Executor>> Start(
      const Options& options);
  // Waits for all jobs to end: whoever started them sees to it that they do.
  // None is ever dropped in the middle.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // False at `jobs_max`, and when the system gives no memory for a stack: then
  // `job` is dropped. `after`, where there is one, runs on a thread of the
  // executor when the job no longer counts, and does not wait: who learns from
  // it that the job has ended finds its place free.
  bool TryRun(std::function<void()> job, std::function<void()> after = nullptr);

  // Waits until there is no job, or for `deadline`. Whether it is so.
  bool WaitUntilIdle(absl::Time deadline);

  struct Counts {
    size_t queued = 0;
    size_t running = 0;
    size_t parked = 0;
  };
  Counts counts() const;

  const Options& options() const { return options_; }
  Poller& poller() { return *poller_; }

 private:
  class Task;

  Executor(const Options& options, std::unique_ptr<Poller> poller);
  absl::Status StartThreads();
  void Work();
  // A fiber has come back from a thread without having ended.
  void Settle(Task& task);
  // With the lock held.
  void Queue(Task& task);

  const Options options_;
  const std::unique_ptr<Poller> poller_;
  native::StackPool stacks_;
  // The length of queue_, for who has no lock.
  std::atomic<size_t> queued_{0};

  mutable std::mutex mu_;
  // Guarded by mu_.
  std::deque<Task*> queue_;
  size_t jobs_ = 0;
  size_t running_ = 0;
  size_t ready_threads_ = 0;
  size_t failed_threads_ = 0;
  bool stopping_ = false;
  std::condition_variable work_;     // queue_ or stopping_ changed
  std::condition_variable changed_;  // jobs_ or the threads' counts did

  std::vector<std::thread> threads_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_EXECUTOR_EXECUTOR_H_
