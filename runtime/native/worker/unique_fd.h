// A file descriptor with one owner, closed with it.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_UNIQUE_FD_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace callgate::native {

class UniqueFd {
 public:
  UniqueFd() = default;
  // Takes `fd`; negative is none.
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Reset(); }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_UNIQUE_FD_H_
