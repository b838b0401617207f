// The zygote as the daemon sees it: a child process, started and ended.
//
// Starting is safe in a program of many threads. One thread at a time; only
// SendControl on control() may go on beside it.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_ZYGOTE_PROCESS_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_ZYGOTE_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "runtime/native/worker/unique_fd.h"

namespace callgate::native {

class ZygoteProcess {
 public:
  // Starts the program at `path` and waits until it is ready; blocks for at
  // most kReadyTime. Unavailable: it cannot be had, names `path` and what to
  // do. Cancelled: `stop_fd` could be read.
  static absl::StatusOr<ZygoteProcess> Start(const std::string& path,
                                             int stop_fd);

  // None.
  ZygoteProcess() = default;
  ZygoteProcess(ZygoteProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        pidfd_(std::move(other.pidfd_)),
        control_(std::move(other.control_)) {}
  ZygoteProcess& operator=(ZygoteProcess&& other) noexcept {
    if (this != &other) {
      End();
      pid_ = std::exchange(other.pid_, -1);
      pidfd_ = std::move(other.pidfd_);
      control_ = std::move(other.control_);
    }
    return *this;
  }
  ~ZygoteProcess() { End(); }

  bool running() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  // Does not block.
  int control() const { return control_.get(); }

  // Lets it end its workers and itself; kills it if it takes long. Returns how
  // it ended, "exit code 0" or a signal's name, empty if there was none.
  std::string End();

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd control_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_ZYGOTE_PROCESS_H_
