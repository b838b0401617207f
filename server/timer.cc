#include "server/timer.h"

namespace callgate {

Timer::Timer() : thread_([this] { Run(); }) {}

Timer::~Timer() {
  {
    const absl::MutexLock lock(&mu_);
    stopping_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

Timer::Id Timer::Schedule(absl::Time when, std::function<void()> callback) {
  const absl::MutexLock lock(&mu_);
  const Id id = next_id_++;
  due_.emplace(std::make_pair(when, id), std::move(callback));
  times_.emplace(id, when);
  changed_.SignalAll();
  return id;
}

void Timer::Cancel(Id id) {
  const absl::MutexLock lock(&mu_);
  const auto found = times_.find(id);
  if (found != times_.end()) {
    due_.erase({found->second, id});
    times_.erase(found);
    return;
  }
  if (std::this_thread::get_id() == thread_.get_id()) return;
  while (running_ == id) changed_.Wait(&mu_);
}

void Timer::Run() {
  const absl::MutexLock lock(&mu_);
  while (!stopping_) {
    if (due_.empty()) {
      changed_.Wait(&mu_);
      continue;
    }
    const auto next = due_.begin();
    if (absl::Now() < next->first.first) {
      changed_.WaitWithDeadline(&mu_, next->first.first);
      continue;
    }
    std::function<void()> callback = std::move(next->second);
    running_ = next->first.second;
    times_.erase(running_);
    due_.erase(next);
    mu_.Unlock();
    callback();
    callback = nullptr;
    mu_.Lock();
    running_ = 0;
    changed_.SignalAll();
  }
}

}  // namespace callgate
