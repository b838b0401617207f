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

void Ticker::Add(Guest& guest) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  guest.was_added_ = true;
  known_.insert(&guest);
  guest.state_.store(Guest::State::kRunning);
  if (std::exchange(asleep_, false)) changed_.notify_all();
}

void Ticker::Forget(Guest& guest) {
  if (!guest.was_added_) return;
  const std::lock_guard<std::mutex> lock(mu_);
  known_.erase(&guest);
}

void Ticker::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  while (!ending_) {
    if (known_.empty()) {
      asleep_ = true;
      changed_.wait(lock);
      asleep_ = false;
      continue;
    }
    absl::erase_if(known_, [](Guest* guest) {
      Guest::State idle = Guest::State::kIdle;
      if (guest->state_.compare_exchange_strong(idle, Guest::State::kUnknown)) {
        return true;
      }
      guest->stack_limit_.store(~uint64_t{0}, std::memory_order_seq_cst);
      return false;
    });
    changed_.wait_for(lock, period_);
  }
}

}  // namespace callgate::native
