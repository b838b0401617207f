#include "server/cli/interrupts.h"

#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>

namespace callgate::cli {
namespace {

// Ends the waiting thread; nobody else sends it.
constexpr int kStop = SIGUSR1;

}  // namespace

Interrupts::Interrupts() {
  sigemptyset(&waited_);
  sigaddset(&waited_, SIGINT);
  sigaddset(&waited_, SIGTERM);
  sigaddset(&waited_, kStop);
  pthread_sigmask(SIG_BLOCK, &waited_, &before_);
  thread_ = std::thread([this] { Wait(); });
}

Interrupts::~Interrupts() {
  pthread_kill(thread_.native_handle(), kStop);
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Interrupts::OnInterrupt(std::function<void()> action) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (action && signal_number_ != 0) {
    action();
    return;
  }
  action_ = std::move(action);
}

int Interrupts::signal_number() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return signal_number_;
}

void Interrupts::Wait() {
  int number = 0;
  while (sigwait(&waited_, &number) != 0) {
  }
  if (number == kStop) return;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    signal_number_ = number;
    // Called under the lock so that OnInterrupt(nullptr) waits for it.
    if (action_) std::exchange(action_, nullptr)();
  }
  const timespec grace = {kGraceSeconds, 0};
  int second = -1;
  do {
    second = sigtimedwait(&waited_, nullptr, &grace);
  } while (second < 0 && errno == EINTR);
  if (second != kStop) _exit(128 + number);
}

}  // namespace callgate::cli
