// Where work is done that gRPC's own threads must not wait for.

#ifndef CALLGATE_SERVER_JOB_RUNNER_H_
#define CALLGATE_SERVER_JOB_RUNNER_H_

#include <cstddef>
#include <functional>

namespace callgate {

// Any thread.
class JobRunner {
 public:
  virtual ~JobRunner() = default;

  // False when there is no room for it: then `job` is dropped. `after`, where
  // there is one, runs when the job no longer counts: who learns from it that
  // the job is done finds its place free.
  virtual bool TryRun(std::function<void()> job,
                      std::function<void()> after = nullptr) = 0;

  // Jobs that can be in progress at once, waiting ones included.
  virtual size_t capacity() const = 0;
};

// Runs `work` on `runner` while the calling fiber is parked: for work that
// blocks, so that it does not hold a thread which runs guests. Returns when it
// is done. Runs it here where the caller is no fiber, or the runner has no
// room.
void RunAside(JobRunner& runner, const std::function<void()>& work);

}  // namespace callgate

#endif  // CALLGATE_SERVER_JOB_RUNNER_H_
