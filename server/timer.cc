#include "server/timer.h"

#include <algorithm>

namespace callgate {
namespace {

// What is later than this is never.
constexpr absl::Duration kForever = absl::Hours(24 * 365);

}  // namespace

Timer::Timer(absl::Time (*clock)())
    : clock_(clock), thread_([this] { Run(); }) {}

Timer::~Timer() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

Timer::Id Timer::Schedule(absl::Time when, std::function<void()> callback) {
  const absl::Duration delay = std::min(when - clock_(), kForever);
  const Due due =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(delay);
  const std::lock_guard<std::mutex> lock(mu_);
  const Id id = next_id_++;
  due_.emplace(std::make_pair(due, id), std::move(callback));
  times_.emplace(id, due);
  changed_.notify_all();
  return id;
}

void Timer::Cancel(Id id) {
  std::unique_lock<std::mutex> lock(mu_);
  const auto found = times_.find(id);
  if (found != times_.end()) {
    due_.erase({found->second, id});
    times_.erase(found);
    return;
  }
  if (std::this_thread::get_id() == thread_.get_id()) return;
  changed_.wait(lock, [this, id] { return running_ != id; });
}

void Timer::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  while (!stopping_) {
    if (due_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto next = due_.begin();
    if (std::chrono::steady_clock::now() < next->first.first) {
      const Due until = next->first.first;
      changed_.wait_until(lock, until);
      continue;
    }
    std::function<void()> callback = std::move(next->second);
    running_ = next->first.second;
    times_.erase(running_);
    due_.erase(next);
    lock.unlock();
    callback();
    callback = nullptr;
    lock.lock();
    running_ = 0;
    changed_.notify_all();
  }
}

}  // namespace callgate
