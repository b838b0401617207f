#include "server/worker_pool.h"

#include <utility>

namespace callgate {

WorkerPool::WorkerPool(size_t threads_max, size_t queue_max)
    : threads_max_(threads_max), queue_max_(queue_max) {}

WorkerPool::~WorkerPool() {
  std::vector<std::thread> threads;
  {
    const absl::MutexLock lock(&mu_);
    stopping_ = true;
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

bool WorkerPool::TryRun(std::function<void()> job,
                        std::function<void()> after) {
  const absl::MutexLock lock(&mu_);
  if (stopping_ || running_ + queue_.size() >= capacity()) return false;
  queue_.push_back({std::move(job), std::move(after)});
  if (running_ + queue_.size() > threads_.size() &&
      threads_.size() < threads_max_) {
    threads_.emplace_back([this] { Work(); });
  }
  return true;
}

bool WorkerPool::WaitUntilIdle(absl::Time deadline) {
  const absl::MutexLock lock(&mu_);
  return mu_.AwaitWithDeadline(
      absl::Condition(
          +[](WorkerPool* pool) ABSL_EXCLUSIVE_LOCKS_REQUIRED(pool->mu_) {
            return pool->running_ == 0 && pool->queue_.empty();
          },
          this),
      deadline);
}

void WorkerPool::Work() {
  const absl::MutexLock lock(&mu_);
  for (;;) {
    mu_.Await(absl::Condition(
        +[](WorkerPool* pool) ABSL_EXCLUSIVE_LOCKS_REQUIRED(pool->mu_) {
          return pool->stopping_ || !pool->queue_.empty();
        },
        this));
    if (queue_.empty()) return;
    Job job = std::move(queue_.front());
    queue_.pop_front();
    ++running_;
    mu_.Unlock();
    job.work();
    // What the job holds goes before it counts as done.
    job.work = nullptr;
    mu_.Lock();
    --running_;
    if (job.after == nullptr) continue;
    mu_.Unlock();
    job.after();
    job.after = nullptr;
    mu_.Lock();
  }
}

}  // namespace callgate
