// A guest's standard input that comes in pieces: a pipe, filled by a thread of
// its own, so that whoever has the bytes never waits for a guest that does not
// read.
//
// One piece at a time: Give says whether there is room for it, and `on_room` is
// called when there is again. Any thread, except that Give and End come from
// one at a time.

#ifndef CALLGATE_SERVER_SERVICES_STDIN_PIPE_H_
#define CALLGATE_SERVER_SERVICES_STDIN_PIPE_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace callgate {

class StdinPipe {
 public:
  // `on_room` is called on the pipe's thread, with no lock held, after each
  // piece. Unavailable: the process has too many files open.
  static absl::StatusOr<std::unique_ptr<StdinPipe>> Open(
      std::function<void()> on_room);
  // Drops what the guest has not read. No on_room comes after it.
  ~StdinPipe();
  StdinPipe(const StdinPipe&) = delete;
  StdinPipe& operator=(const StdinPipe&) = delete;

  // What the guest reads from, for as long as this lives.
  int read_fd() const { return read_fd_; }

  // Only when there is room: at first, and after on_room.
  void Give(std::string bytes);
  // No more comes: the guest reads the end of the file after the last piece.
  void End();

 private:
  StdinPipe(int read_fd, int write_fd, int wake_fd,
            std::function<void()> on_room);
  void Run();
  // Writes all of it. False when the pipe is to be closed.
  bool WriteAll(const std::string& bytes);

  const int read_fd_;
  const int write_fd_;
  const int wake_fd_;  // readable when this is being destroyed
  const std::function<void()> on_room_;

  absl::Mutex mu_;
  std::string piece_ ABSL_GUARDED_BY(mu_);
  bool full_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_STDIN_PIPE_H_
