// Threads for work that blocks: compilations, the disk, readers of the event
// log.
//
// At most `threads_max` threads, made when they are first needed, and at most
// `queue_max` jobs that wait for one. Any thread.

#ifndef CALLGATE_SERVER_WORKER_POOL_H_
#define CALLGATE_SERVER_WORKER_POOL_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/job_runner.h"

namespace callgate {

class WorkerPool final : public JobRunner {
 public:
  WorkerPool(size_t threads_max, size_t queue_max);
  // Runs what is queued, and waits for all of it.
  ~WorkerPool() override;
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False if every thread is busy and the queue is full: then `job` is dropped.
  // `after`, where there is one, runs on the same thread when the job no longer
  // counts: who learns from it that the job is done finds its place free.
  bool TryRun(std::function<void()> job,
              std::function<void()> after = nullptr) override;

  // Waits until no job runs or waits, or for `deadline`. Whether it is so.
  bool WaitUntilIdle(absl::Time deadline);

  size_t capacity() const override { return threads_max_ + queue_max_; }

 private:
  struct Job {
    std::function<void()> work;
    std::function<void()> after;
  };

  void Work();

  // Constant after construction.
  const size_t threads_max_;
  const size_t queue_max_;

  mutable absl::Mutex mu_;
  std::deque<Job> queue_ ABSL_GUARDED_BY(mu_);
  size_t running_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_WORKER_POOL_H_
