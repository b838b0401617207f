// Compile workers for whoever needs one: keeps a zygote running, orders workers
// from it ahead of need, and knows how each one ended.
//
// A thread of its own listens to the zygote. If the zygote ends, its workers
// end with it, and another is started, after a pause that grows with each
// failure. Any thread; Close and the destructor by one.
//
// Processes are ended by pidfd, and only those that were started here are ever
// waited for: the process may have other children and may have no SIGCHLD
// handler. Where the zygote dies before its workers and they become this
// process's children (as in a container's first process), they are reaped too.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_WORKER_POOL_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_WORKER_POOL_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/native/worker/control.h"
#include "runtime/native/worker/unique_fd.h"
#include "runtime/native/worker/zygote_process.h"

namespace callgate::native {

class WorkerPool {
 public:
  // `spares` workers are kept waiting. Unavailable: the program at `path`
  // cannot be started.
  static absl::StatusOr<std::unique_ptr<WorkerPool>> Start(std::string path,
                                                           size_t spares);
  // Ends every process. Nobody may be in a call.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  struct Worker {
    uint64_t id = 0;
    UniqueFd socket;
  };
  // Blocks until there is one; kTakeTime at most. Every worker that is taken
  // is given back by one Discard. Unavailable: there is none to be had.
  // Cancelled: closed.
  absl::StatusOr<Worker> Take();

  struct Ended {
    enum class How { kEnded, kStillRunning, kLost };
    How how;
    int wait_status;  // of kEnded
  };
  // How a worker ended, waiting for that so long at most. kLost: its zygote
  // ended, which ended it too; or the pool was closed.
  Ended AwaitEnd(uint64_t worker, std::chrono::milliseconds most);

  // Ends the worker, if it has not ended, and forgets it. Does not wait.
  void Discard(uint64_t worker);

  // Calls that wait, and later ones, return at once.
  void Close();
  // Can be read once the pool is closed.
  int closed_fd() const { return closed_fd_.get(); }

  struct Counts {
    uint64_t zygote_restarts = 0;
    int64_t zygote_pid = 0;  // 0: there is none now
    uint64_t spares = 0;     // waiting now
  };
  Counts counts() const;

 private:
  struct Record {
    UniqueFd pidfd;
    bool spawned = false;
    bool discarded = false;
    bool lost = false;
    bool ended = false;
    int wait_status = 0;
  };

  WorkerPool(std::string path, size_t spares, UniqueFd closed_fd,
             ZygoteProcess zygote);

  void Run();
  void Listen();
  bool Restart();
  void ZygoteEnded();

  // With mu_ held.
  void Order();
  void Handle(ReceivedControl received);
  void Spawned(uint64_t id, ReceivedControl received);
  void WorkerEnded(uint64_t id, int wait_status);
  void Fail(absl::Status status);

  const std::string path_;
  const size_t spares_wanted_;
  const UniqueFd closed_fd_;  // an eventfd

  // The thread's own, but for what is done with mu_ held.
  std::chrono::milliseconds pause_{0};
  std::chrono::steady_clock::time_point zygote_started_;

  mutable std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_.
  ZygoteProcess zygote_;
  bool closed_ = false;
  uint64_t next_worker_ = 1;
  std::map<uint64_t, Record> workers_;
  std::deque<Worker> spares_;
  size_t ordered_ = 0;
  size_t taking_ = 0;
  bool fill_spares_ = true;
  // Counts failures to get a worker; the last one's reason.
  uint64_t failures_ = 0;
  absl::Status failure_;
  uint64_t zygote_restarts_ = 0;

  std::thread thread_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_WORKER_POOL_H_
