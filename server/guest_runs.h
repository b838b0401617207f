// Calls into guests in progress: fibers of an executor, so that those which
// wait hold no thread.
//
// Any thread.

#ifndef CALLGATE_SERVER_GUEST_RUNS_H_
#define CALLGATE_SERVER_GUEST_RUNS_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "runtime/executor/executor.h"
#include "server/job_runner.h"

namespace callgate {

class GuestRuns final : public JobRunner {
 public:
  explicit GuestRuns(std::unique_ptr<Executor> executor)
      : executor_(std::move(executor)) {}

  bool TryRun(std::function<void()> job,
              std::function<void()> after = nullptr) override {
    return executor_->TryRun(std::move(job), std::move(after));
  }
  size_t capacity() const override { return executor_->options().jobs_max; }

  Executor& executor() { return *executor_; }

 private:
  const std::unique_ptr<Executor> executor_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_GUEST_RUNS_H_
