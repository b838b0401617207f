#include "server/services/stdin_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"

namespace callgate {

absl::StatusOr<std::unique_ptr<StdinPipe>> StdinPipe::Open(
    Poller& poller, std::function<void()> on_room) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError(
        absl::StrCat("no pipe for the guest's stdin: ", std::strerror(errno)));
  }
  // The guest's end stays as it is: whoever reads polls first.
  if (fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) {
    const absl::Status status = absl::UnavailableError(
        absl::StrCat("no pipe for the guest's stdin: ", std::strerror(errno)));
    close(ends[0]);
    close(ends[1]);
    return status;
  }
  return absl::WrapUnique(
      new StdinPipe(poller, ends[0], ends[1], std::move(on_room)));
}

StdinPipe::StdinPipe(Poller& poller, int read_fd, int write_fd,
                     std::function<void()> on_room)
    : poller_(poller),
      read_fd_(read_fd),
      on_room_(std::move(on_room)),
      write_fd_(write_fd) {}

StdinPipe::~StdinPipe() {
  Poller::Id wait = 0;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
    wait = wait_;
  }
  // Waits for one that runs, which then asks for no other.
  if (wait != 0) poller_.Cancel(wait);
  const std::lock_guard<std::mutex> lock(mu_);
  CloseWriteEnd();
  close(read_fd_);
}

bool StdinPipe::Give(std::string bytes) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (write_fd_ < 0) return false;
  piece_ = std::move(bytes);
  written_ = 0;
  return Fill();
}

void StdinPipe::End() {
  const std::lock_guard<std::mutex> lock(mu_);
  ended_ = true;
  if (written_ == piece_.size()) CloseWriteEnd();
}

bool StdinPipe::Fill() {
  while (written_ < piece_.size()) {
    // The read end is ours and open, so there is no SIGPIPE.
    const ssize_t wrote =
        write(write_fd_, piece_.data() + written_, piece_.size() - written_);
    if (wrote > 0) {
      written_ += static_cast<size_t>(wrote);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      wait_ = poller_.Watch(write_fd_, Poller::For::kWriting,
                            Poller::Clock::time_point::max(),
                            [this] { OnWritable(); });
    } else {
      CloseWriteEnd();
    }
    return false;
  }
  piece_ = std::string();
  written_ = 0;
  if (ended_) CloseWriteEnd();
  return true;
}

void StdinPipe::OnWritable() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (stopping_ || !Fill() || ended_) return;
  }
  on_room_();
}

void StdinPipe::CloseWriteEnd() {
  if (write_fd_ >= 0) close(write_fd_);
  write_fd_ = -1;
}

}  // namespace callgate
