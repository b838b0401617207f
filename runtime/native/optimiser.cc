#include "runtime/native/optimiser.h"

#include <utility>

namespace callgate::native {

Optimiser::Optimiser() : thread_([this] { Run(); }) {}

Optimiser::~Optimiser() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Optimiser::Add(uint64_t bytes, std::function<bool()> wanted,
                    std::function<absl::Status()> compile) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (bytes > kWaitingBytesMax - waiting_bytes_) {
      ++stats_.overflow;
      return;
    }
    waiting_bytes_ += bytes;
    jobs_.push_back({bytes, std::move(wanted), std::move(compile)});
  }
  changed_.notify_all();
}

void Optimiser::Drain() {
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock, [this] { return jobs_.empty() && !running_; });
}

Optimiser::Stats Optimiser::stats() const {
  const std::lock_guard<std::mutex> lock(mu_);
  Stats stats = stats_;
  stats.waiting = jobs_.size();
  return stats;
}

void Optimiser::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    if (ending_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    waiting_bytes_ -= job.bytes;
    running_ = true;
    lock.unlock();
    const bool wanted = job.wanted();
    const absl::Status status = wanted ? job.compile() : absl::OkStatus();
    // What it holds goes before anybody is told.
    job = Job();
    lock.lock();
    running_ = false;
    if (!wanted) {
      ++stats_.dropped;
    } else if (status.ok()) {
      ++stats_.done;
    } else {
      ++stats_.failed;
    }
    changed_.notify_all();
  }
}

}  // namespace callgate::native
