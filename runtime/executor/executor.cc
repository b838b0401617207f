#include "runtime/executor/executor.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "runtime/check.h"
#include "runtime/executor/fiber.h"
#include "runtime/native/trap_signal.h"
#include "runtime/parker.h"

namespace callgate {
namespace {

native::StackPool::Options StacksFor(const Executor::Options& options) {
  native::StackPool::Options stacks;
  stacks.stacks_max = options.jobs_max;
  stacks.idle_max = std::min<size_t>(options.jobs_max, 64);
  return stacks;
}

}  // namespace

// One job. It is deleted by the thread on which it ends.
class Executor::Task final : public Parker {
 public:
  Task(Executor& executor, std::unique_ptr<native::Stack> stack,
       std::function<void()> job, std::function<void()> after)
      : executor_(executor),
        fiber_(std::move(stack), std::move(job)),
        after_(std::move(after)) {}
  ~Task() = default;

  void Park(int fd, Clock::time_point until) override {
    {
      const std::lock_guard<std::mutex> lock(executor_.mu_);
      if (std::exchange(woken_, false)) return;
    }
    Poller::Id wait = 0;
    if (fd >= 0 || until != Clock::time_point::max()) {
      wait = executor_.poller_->Watch(fd, Poller::For::kReading, until,
                                      [this] { Wake(); });
    }
    fiber_.Suspend();
    // The callback has this task, which may end after this.
    if (wait != 0) executor_.poller_->Cancel(wait);
  }

  void Wake() override {
    const std::lock_guard<std::mutex> lock(executor_.mu_);
    if (parked_) {
      parked_ = false;
      executor_.Queue(*this);
    } else {
      woken_ = true;
    }
  }

  void YieldIfDue() override {
    if (executor_.queued_.load(std::memory_order_relaxed) == 0) return;
    if (Clock::now() - turn_began_ < executor_.options_.turn) return;
    yields_ = true;
    fiber_.Suspend();
  }

  std::chrono::nanoseconds ProcessorTime() override {
    const std::chrono::nanoseconds now = ProcessorTimeOfThread();
    if (!std::exchange(measured_, true)) processor_mark_ = now;
    return processor_used_ + (now - processor_mark_);
  }

  // On a thread of the executor; true when the job has ended.
  bool Run() {
    turn_began_ = Clock::now();
    if (measured_) processor_mark_ = ProcessorTimeOfThread();
    SetCurrent(this);
    const bool ended = fiber_.Resume();
    SetCurrent(nullptr);
    if (measured_) {
      processor_used_ += ProcessorTimeOfThread() - processor_mark_;
    }
    return ended;
  }

 private:
  friend class Executor;

  Executor& executor_;
  Fiber fiber_;
  std::function<void()> after_;
  // Of the thread that runs it.
  Clock::time_point turn_began_;
  bool yields_ = false;
  // Of the fiber; processor_mark_ is when its time on this thread began to
  // count.
  bool measured_ = false;
  std::chrono::nanoseconds processor_used_{};
  std::chrono::nanoseconds processor_mark_{};
  // Guarded by the executor's mu_.
  bool parked_ = false;
  bool woken_ = false;
};

absl::StatusOr<std::unique_ptr<Executor>> Executor::Start(
    const Options& options) {
  CALLGATE_CHECK(options.threads > 0 && options.jobs_max > 0,
                 "an executor has threads and room for jobs");
  absl::StatusOr<std::unique_ptr<Poller>> poller = Poller::Start();
  if (!poller.ok()) return poller.status();
  std::unique_ptr<Executor> executor =
      absl::WrapUnique(new Executor(options, *std::move(poller)));
  absl::Status started = executor->StartThreads();
  if (!started.ok()) return started;
  return executor;
}

Executor::Executor(const Options& options, std::unique_ptr<Poller> poller)
    : options_(options),
      poller_(std::move(poller)),
      stacks_(StacksFor(options)) {}

absl::Status Executor::StartThreads() {
  for (size_t i = 0; i < options_.threads; ++i) {
    threads_.emplace_back([this] { Work(); });
  }
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock, [this] {
    return ready_threads_ + failed_threads_ == options_.threads;
  });
  if (failed_threads_ == 0) return absl::OkStatus();
  return absl::UnavailableError(
      "the system gives the threads that run guests no stacks for signals");
}

Executor::~Executor() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
    work_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

bool Executor::TryRun(std::function<void()> job, std::function<void()> after) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (stopping_ || jobs_ >= options_.jobs_max) return false;
    ++jobs_;
  }
  // Now, so that a job which was taken cannot fail for want of it.
  absl::StatusOr<std::unique_ptr<native::Stack>> stack =
      stacks_.Acquire(options_.stack_bytes);
  if (!stack.ok()) {
    const std::lock_guard<std::mutex> lock(mu_);
    --jobs_;
    changed_.notify_all();
    work_.notify_all();
    return false;
  }
  auto task = std::make_unique<Task>(*this, *std::move(stack), std::move(job),
                                     std::move(after));
  const std::lock_guard<std::mutex> lock(mu_);
  Queue(*task.release());
  return true;
}

void Executor::Queue(Task& task) {
  queue_.push_back(&task);
  queued_.store(queue_.size(), std::memory_order_relaxed);
  work_.notify_one();
}

bool Executor::WaitUntilIdle(absl::Time deadline) {
  std::unique_lock<std::mutex> lock(mu_);
  const auto idle = [this] { return jobs_ == 0; };
  if (deadline == absl::InfiniteFuture()) {
    changed_.wait(lock, idle);
    return true;
  }
  return changed_.wait_until(lock, absl::ToChronoTime(deadline), idle);
}

Executor::Counts Executor::counts() const {
  const std::lock_guard<std::mutex> lock(mu_);
  Counts counts;
  counts.queued = queue_.size();
  counts.running = running_;
  counts.parked = jobs_ - queue_.size() - running_;
  return counts;
}

void Executor::Settle(Task& task) {
  if (std::exchange(task.yields_, false)) {
    Queue(task);
  } else if (std::exchange(task.woken_, false)) {
    Queue(task);
  } else {
    task.parked_ = true;
  }
}

void Executor::Work() {
  const bool prepared = native::PrepareThreadForFaults();
  std::unique_lock<std::mutex> lock(mu_);
  ++(prepared ? ready_threads_ : failed_threads_);
  changed_.notify_all();
  if (!prepared) return;
  for (;;) {
    work_.wait(lock,
               [this] { return !queue_.empty() || (stopping_ && jobs_ == 0); });
    if (queue_.empty()) return;
    Task* const task = queue_.front();
    queue_.pop_front();
    queued_.store(queue_.size(), std::memory_order_relaxed);
    ++running_;
    lock.unlock();
    const bool ended = task->Run();
    if (!ended) {
      lock.lock();
      --running_;
      Settle(*task);
      continue;
    }
    // What the job held has gone with it, and its stack goes before it counts
    // as ended.
    stacks_.Release(task->fiber_.TakeStack());
    std::function<void()> after = std::move(task->after_);
    delete task;
    lock.lock();
    --running_;
    --jobs_;
    changed_.notify_all();
    if (jobs_ == 0 && stopping_) work_.notify_all();
    if (after == nullptr) continue;
    lock.unlock();
    after();
    after = nullptr;
    lock.lock();
  }
}

}  // namespace callgate
