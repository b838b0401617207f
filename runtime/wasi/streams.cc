#include "runtime/wasi/streams.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

// What poll() says of `fd` now. A descriptor that cannot be polled is ready:
// reading it says what is wrong.
short PollNow(int fd) {
  pollfd entry{fd, POLLIN, 0};
  const int count = RetryOnSignal([&] { return poll(&entry, 1, 0); });
  if (count < 0) return POLLIN;
  return count == 0 ? short{0} : entry.revents;
}

}  // namespace

bool Input::Ready() const { return fd_ < 0 || PollNow(fd_) != 0; }

uint64_t Input::BytesReady() const {
  if (fd_ < 0) return bytes_.size() - position_;
  int count = 0;
  // Not every kind of file can say; then nothing is sure.
  if (ioctl(fd_, FIONREAD, &count) != 0 || count < 0) return 0;
  return static_cast<uint64_t>(count);
}

bool Input::AtEnd() const {
  if (fd_ < 0) return position_ == bytes_.size();
  const short seen = PollNow(fd_);
  return (seen & POLLIN) == 0 && (seen & POLLHUP) != 0;
}

OutcomeOr<size_t> Input::Read(absl::Span<uint8_t> out) {
  if (fd_ < 0) {
    const size_t count = std::min(out.size(), bytes_.size() - position_);
    if (count > 0) std::memcpy(out.data(), bytes_.data() + position_, count);
    position_ += count;
    return count;
  }
  const ssize_t count =
      RetryOnSignal([&] { return read(fd_, out.data(), out.size()); });
  if (count < 0) return FromHostErrno(errno);
  return static_cast<size_t>(count);
}

OutcomeOr<size_t> Output::Write(absl::Span<const uint8_t> bytes) {
  const uint64_t room = bytes_max_ - written_;
  const size_t taken =
      static_cast<size_t>(std::min<uint64_t>(room, bytes.size()));
  if (taken > 0) {
    if (sink_ != nullptr) {
      if (!sink_(bytes.subspan(0, taken))) return Errno::kPipe;
    } else {
      // SAFETY: char may alias anything; `taken` bytes of the span are read.
      kept_.append(reinterpret_cast<const char*>(bytes.data()), taken);
    }
    written_ += taken;
  }
  refused_ += bytes.size() - taken;
  if (taken == 0 && !bytes.empty()) return Errno::kNoSpc;
  return taken;
}

std::string Output::Take() {
  written_ = 0;
  return std::exchange(kept_, std::string());
}

}  // namespace wasi
}  // namespace callgate
