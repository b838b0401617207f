#include "server/cli/stdin_pump.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "runtime/check.h"

namespace callgate::cli {

StdinPump::StdinPump(int fd, std::function<bool(absl::string_view)> take,
                     std::function<void()> end)
    : fd_(fd),
      take_(std::move(take)),
      end_(std::move(end)),
      stop_fd_(eventfd(0, EFD_CLOEXEC)) {
  CALLGATE_CHECK(stop_fd_ >= 0, "a process that just started has descriptors");
  thread_ = std::thread([this] { Run(); });
}

StdinPump::~StdinPump() {
  const uint64_t one = 1;
  const ssize_t written = write(stop_fd_, &one, sizeof(one));
  CALLGATE_CHECK(written == sizeof(one), "an eventfd takes a one");
  thread_.join();
  close(stop_fd_);
}

void StdinPump::Run() {
  std::string buffer(kChunkBytesMax, '\0');
  // poll ignores a negative descriptor, and would wait for ever.
  while (fd_ >= 0) {
    pollfd waited[2] = {{fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
    if (poll(waited, 2, -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (waited[1].revents != 0) return;
    // A closed descriptor polls as POLLNVAL, and its read fails: the end.
    const ssize_t got = read(fd_, buffer.data(), buffer.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    if (!take_(absl::string_view(buffer).substr(0, static_cast<size_t>(got)))) {
      return;
    }
  }
  end_();
}

}  // namespace callgate::cli
