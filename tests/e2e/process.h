// Child processes for tests that run the real binaries.
//
// Everything waits on descriptors (pipes, pidfd) with a deadline; nothing
// sleeps for a fixed time. A Process that goes out of scope is killed and
// reaped, so a failing test leaves nothing behind.
//
// One thread at a time per object.

#ifndef CALLGATE_TESTS_E2E_PROCESS_H_
#define CALLGATE_TESTS_E2E_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace callgate::e2e {

// What a process is started with. argv[0] is a path; the environment is the
// test's own plus `env`.
struct Command {
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> env;
  std::string stdin_bytes;
  // Leaves stdin open for Send; CloseInput ends it.
  bool interactive = false;
};

// How a process ended.
struct Exit {
  // The exit code, or -1 when a signal ended it.
  int code = -1;
  int signal = 0;
};

// A finished command.
struct Finished {
  // The exit code, 128 + N after signal N, and -1 when it had to be killed at
  // the deadline (`timed_out`).
  int exit_code = -1;
  bool timed_out = false;
  std::string out;
  std::string err;
  absl::Duration wall;
};

// A running process with its standard output and error gathered.
class Process {
 public:
  static absl::StatusOr<std::unique_ptr<Process>> Start(const Command& command);
  // Kills (SIGKILL) and reaps whatever still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Waits until the output so far contains `text`; returns it up to the end of
  // the line that `text` is in. DeadlineExceeded or FailedPrecondition (it
  // ended first) with all output in the message.
  absl::StatusOr<std::string> WaitForOutput(absl::string_view text,
                                            absl::Duration deadline);
  absl::StatusOr<std::string> WaitForError(absl::string_view text,
                                           absl::Duration deadline);
  // Waits for the end of the process and of its output.
  absl::StatusOr<Exit> Wait(absl::Duration deadline);
  void Signal(int signal);
  // Writes to the stdin of an interactive command; waits until all is written.
  absl::Status Send(absl::string_view bytes);
  void CloseInput();

  pid_t pid() const { return pid_; }
  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }

 private:
  Process() = default;
  absl::StatusOr<std::string> WaitForText(const std::string& gathered,
                                          absl::string_view text,
                                          absl::Duration deadline);
  // Moves bytes until something new came, all ended, or the time has come.
  // Returns false when nothing more can come.
  bool Pump(absl::Time until);

  pid_t pid_ = -1;
  int pidfd_ = -1;
  int in_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  std::string unsent_;
  bool interactive_ = false;
  std::string out_;
  std::string err_;
  bool exited_ = false;
  Exit exit_;
};

// Runs a command to its end.
Finished RunToEnd(const Command& command,
                  absl::Duration deadline = absl::Seconds(60));

// Calls `condition` again and again until it is true or the deadline has
// passed; returns whether it became true. For conditions that offer no
// descriptor to wait on.
template <typename Condition>
bool Eventually(absl::Duration deadline, Condition condition);

// A short rest between two tries of Eventually.
void Breathe();

template <typename Condition>
bool Eventually(absl::Duration deadline, Condition condition) {
  const absl::Time until = absl::Now() + deadline;
  while (!condition()) {
    if (absl::Now() > until) return false;
    Breathe();
  }
  return true;
}

}  // namespace callgate::e2e

#endif  // CALLGATE_TESTS_E2E_PROCESS_H_
