// A guest's standard input that comes in pieces: a pipe, filled without a
// thread, so that whoever has the bytes never waits for a guest that does not
// read.
//
// One piece at a time: Give says whether there is room for the next one, and if
// not, `on_room` is called when there is. Any thread, except that Give and End
// come from one at a time.

#ifndef CALLGATE_SERVER_SERVICES_STDIN_PIPE_H_
#define CALLGATE_SERVER_SERVICES_STDIN_PIPE_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/executor/poller.h"

namespace callgate {

class StdinPipe {
 public:
  // `on_room` is called on the poller's thread, with no lock held; it must be
  // short. The poller outlives the pipe. Unavailable: the process has too many
  // files open.
  static absl::StatusOr<std::unique_ptr<StdinPipe>> Open(
      Poller& poller, std::function<void()> on_room);
  // Drops what the guest has not read. No on_room comes after it.
  ~StdinPipe();
  StdinPipe(const StdinPipe&) = delete;
  StdinPipe& operator=(const StdinPipe&) = delete;

  // What the guest reads from, for as long as this lives.
  int read_fd() const { return read_fd_; }

  // Only when there is room: at first, after a Give that was true, and after
  // on_room. True: there is room again, and no on_room comes for this piece.
  bool Give(std::string bytes);
  // No more comes: the guest reads the end of the file after the last piece.
  void End();

 private:
  StdinPipe(Poller& poller, int read_fd, int write_fd,
            std::function<void()> on_room);
  // Writes what the pipe takes, and has itself called when it takes more. True
  // when nothing is left. With the lock held.
  bool Fill();
  void OnWritable();
  // With the lock held.
  void CloseWriteEnd();

  Poller& poller_;
  const int read_fd_;
  const std::function<void()> on_room_;

  std::mutex mu_;
  // Guarded by mu_.
  int write_fd_;  // -1 once closed
  std::string piece_;
  size_t written_ = 0;  // of piece_
  bool ended_ = false;
  bool stopping_ = false;
  Poller::Id wait_ = 0;  // 0: none
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_STDIN_PIPE_H_
