#include "runtime/native/ticker.h"

#include <utility>

namespace callgate::native {

Ticker::~Ticker() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Ticker::Add(std::atomic<uint64_t>& stack_limit) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  running_.insert(&stack_limit);
  busy_ = true;
  if (std::exchange(asleep_, false)) changed_.notify_all();
}

void Ticker::Remove(std::atomic<uint64_t>& stack_limit) {
  const std::lock_guard<std::mutex> lock(mu_);
  running_.erase(&stack_limit);
}

void Ticker::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  while (!ending_) {
    // Guests that come and go many times in a period find it awake: waking it
    // is dearer than they are.
    if (running_.empty() && !std::exchange(busy_, false)) {
      asleep_ = true;
      changed_.wait(lock);
      asleep_ = false;
      continue;
    }
    for (std::atomic<uint64_t>* limit : running_) {
      limit->store(~uint64_t{0}, std::memory_order_seq_cst);
    }
    changed_.wait_for(lock, period_);
  }
}

}  // namespace callgate::native
