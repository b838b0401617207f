// A file descriptor of the host with one owner, closed with it.

#ifndef CALLGATE_RUNTIME_WASI_UNIQUE_FD_H_
#define CALLGATE_RUNTIME_WASI_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace callgate {
namespace wasi {

class UniqueFd {
 public:
  UniqueFd() = default;
  // Takes `fd`; negative is none.
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() {
    if (fd_ >= 0) close(fd_);
  }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_UNIQUE_FD_H_
