#include "server/services/stdin_pipe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"

namespace callgate {

absl::StatusOr<std::unique_ptr<StdinPipe>> StdinPipe::Open(
    std::function<void()> on_room) {
  const auto failed = [] {
    return absl::UnavailableError(
        absl::StrCat("no pipe for the guest's stdin: ", std::strerror(errno)));
  };
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return failed();
  const int wake = eventfd(0, EFD_CLOEXEC);
  // The guest's end stays as it is: whoever reads polls first.
  if (wake < 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) {
    const absl::Status status = failed();
    if (wake >= 0) close(wake);
    close(ends[0]);
    close(ends[1]);
    return status;
  }
  return absl::WrapUnique(
      new StdinPipe(ends[0], ends[1], wake, std::move(on_room)));
}

StdinPipe::StdinPipe(int read_fd, int write_fd, int wake_fd,
                     std::function<void()> on_room)
    : read_fd_(read_fd),
      write_fd_(write_fd),
      wake_fd_(wake_fd),
      on_room_(std::move(on_room)),
      thread_([this] { Run(); }) {}

StdinPipe::~StdinPipe() {
  {
    const absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  // Cannot fail: the counter is far from its maximum.
  if (write(wake_fd_, &one, sizeof(one)) < 0) {
  }
  thread_.join();
  close(read_fd_);
  close(wake_fd_);
}

void StdinPipe::Give(std::string bytes) {
  const absl::MutexLock lock(&mu_);
  piece_ = std::move(bytes);
  full_ = true;
}

void StdinPipe::End() {
  const absl::MutexLock lock(&mu_);
  ended_ = true;
}

void StdinPipe::Run() {
  for (;;) {
    std::string piece;
    {
      const absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(
          +[](StdinPipe* pipe) ABSL_EXCLUSIVE_LOCKS_REQUIRED(pipe->mu_) {
            return pipe->full_ || pipe->ended_ || pipe->stopping_;
          },
          this));
      if (stopping_ || !full_) break;
      piece = std::move(piece_);
      full_ = false;
    }
    if (!WriteAll(piece)) break;
    on_room_();
  }
  close(write_fd_);
}

bool StdinPipe::WriteAll(const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    // The read end is ours and open, so there is no SIGPIPE.
    const ssize_t wrote =
        write(write_fd_, bytes.data() + done, bytes.size() - done);
    if (wrote > 0) {
      done += static_cast<size_t>(wrote);
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return false;
    pollfd fds[2] = {{write_fd_, POLLOUT, 0}, {wake_fd_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return false;
    if (fds[1].revents != 0) return false;
  }
  return true;
}

}  // namespace callgate
