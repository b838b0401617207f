// Ctrl-C and SIGTERM while a guest runs: the guest is ended first, then the
// client. A second signal ends the client at once, and so does a guest that
// does not end within kGraceSeconds (one that waits for a terminal, say).
//
// Make it before any other thread exists (a gRPC channel makes some), so that
// they all inherit the blocked signals; a thread of its own waits for them. At
// most one at a time.

#ifndef CALLGATE_SERVER_CLI_INTERRUPTS_H_
#define CALLGATE_SERVER_CLI_INTERRUPTS_H_

#include <signal.h>

#include <functional>
#include <mutex>
#include <thread>

namespace callgate::cli {

class Interrupts {
 public:
  static constexpr int kGraceSeconds = 3;

  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // `action` is called once, on the waiting thread, when a signal comes; at
  // once, on this thread, if one has come already. Null takes it back: when
  // this returns, no action runs.
  void OnInterrupt(std::function<void()> action);

  // The signal that came, or 0.
  int signal_number() const;
  // What the process exits with for that signal.
  int exit_code() const { return 128 + signal_number(); }

 private:
  void Wait();

  sigset_t waited_;
  sigset_t before_;
  mutable std::mutex mu_;
  std::function<void()> action_;  // guarded by mu_
  int signal_number_ = 0;         // guarded by mu_
  std::thread thread_;
};

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_INTERRUPTS_H_
