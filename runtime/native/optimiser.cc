#include "runtime/native/optimiser.h"

#include <algorithm>
#include <iterator>
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

void Optimiser::Add(absl::string_view account, uint64_t bytes,
                    std::function<bool()> wanted,
                    std::function<absl::Status()> compile) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    auto line =
        std::find_if(lines_.begin(), lines_.end(),
                     [&](const Line& each) { return each.account == account; });
    const uint64_t has = line == lines_.end() ? 0 : line->bytes;
    if (bytes > kWaitingBytesMax - waiting_bytes_ ||
        bytes > kAccountBytesMax - has) {
      ++stats_.overflow;
      return;
    }
    if (line == lines_.end()) {
      lines_.emplace_back();
      line = std::prev(lines_.end());
      line->account = std::string(account);
    }
    waiting_bytes_ += bytes;
    ++waiting_;
    line->bytes += bytes;
    line->jobs.push_back({bytes, std::move(wanted), std::move(compile)});
  }
  changed_.notify_all();
}

void Optimiser::Drain() {
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock, [this] { return lines_.empty() && !running_; });
}

Optimiser::Stats Optimiser::stats() const {
  const std::lock_guard<std::mutex> lock(mu_);
  Stats stats = stats_;
  stats.waiting = waiting_;
  return stats;
}

// The first one's account goes to the end, or away with its last job.
Optimiser::Job Optimiser::TakeNext() {
  Line& line = lines_.front();
  Job job = std::move(line.jobs.front());
  line.jobs.pop_front();
  line.bytes -= job.bytes;
  waiting_bytes_ -= job.bytes;
  --waiting_;
  if (line.jobs.empty()) {
    lines_.pop_front();
  } else {
    lines_.splice(lines_.end(), lines_, lines_.begin());
  }
  return job;
}

void Optimiser::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !lines_.empty(); });
    if (ending_) return;
    Job job = TakeNext();
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
