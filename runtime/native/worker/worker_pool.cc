#include "runtime/native/worker/worker_pool.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/native/worker/pidfd.h"

namespace callgate::native {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// Longer than a zygote takes to start and a pause lasts.
constexpr seconds kTakeTime(60);
// Between the end of a zygote and the start of the next.
constexpr milliseconds kFirstPause(10);
constexpr milliseconds kLongestPause(5000);
// A zygote that lived so long did not end for a reason that will be there
// again.
constexpr seconds kLongLife(10);

// Reaps a worker that has become a child of this process, if it has. It has
// been killed already.
void ReapOrphan(const UniqueFd& pidfd) {
  if (!pidfd.valid()) return;
  siginfo_t info = {};
  while (waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED) < 0 &&
         errno == EINTR) {
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerPool>> WorkerPool::Start(std::string path,
                                                              size_t spares) {
  UniqueFd closed_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!closed_fd.valid()) {
    return absl::UnavailableError(
        absl::StrCat("cannot make an eventfd: ", strerror(errno)));
  }
  absl::StatusOr<ZygoteProcess> zygote =
      ZygoteProcess::Start(path, closed_fd.get());
  if (!zygote.ok()) return zygote.status();
  return std::unique_ptr<WorkerPool>(new WorkerPool(
      std::move(path), spares, std::move(closed_fd), *std::move(zygote)));
}

WorkerPool::WorkerPool(std::string path, size_t spares, UniqueFd closed_fd,
                       ZygoteProcess zygote)
    : path_(std::move(path)),
      spares_wanted_(spares),
      closed_fd_(std::move(closed_fd)),
      zygote_started_(steady_clock::now()),
      zygote_(std::move(zygote)) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    Order();
  }
  thread_ = std::thread([this] { Run(); });
}

WorkerPool::~WorkerPool() {
  Close();
  thread_.join();
  for (auto& [id, record] : workers_) KillByPidfd(record.pidfd);
  spares_.clear();
  zygote_.End();
  // Reaped by the zygote, unless that had to be killed.
  for (auto& [id, record] : workers_) ReapOrphan(record.pidfd);
}

absl::StatusOr<WorkerPool::Worker> WorkerPool::Take() {
  const steady_clock::time_point deadline = steady_clock::now() + kTakeTime;
  std::unique_lock<std::mutex> lock(mu_);
  const uint64_t failures_before = failures_;
  ++taking_;
  absl::Status status;
  while (true) {
    if (closed_) {
      status = absl::CancelledError("the compile service is ending");
      break;
    }
    if (!spares_.empty()) break;
    if (failures_ != failures_before) {
      status = failure_;
      break;
    }
    Order();
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) {
      status = absl::UnavailableError(absl::StrCat("the compiler \"", path_,
                                                   "\" gave no worker within ",
                                                   kTakeTime.count(), " s"));
      break;
    }
  }
  --taking_;
  if (!status.ok()) return status;
  Worker worker = std::move(spares_.front());
  spares_.pop_front();
  fill_spares_ = true;
  Order();
  return worker;
}

WorkerPool::Ended WorkerPool::AwaitEnd(uint64_t worker, milliseconds most) {
  const steady_clock::time_point deadline = steady_clock::now() + most;
  std::unique_lock<std::mutex> lock(mu_);
  const auto found = workers_.find(worker);
  CALLGATE_CHECK(found != workers_.end(), "a worker is known until discarded");
  const Record& record = found->second;
  const auto settled = [&] { return record.ended || record.lost || closed_; };
  if (!changed_.wait_until(lock, deadline, settled)) {
    return {Ended::How::kStillRunning, 0};
  }
  if (record.ended) return {Ended::How::kEnded, record.wait_status};
  return {Ended::How::kLost, 0};
}

void WorkerPool::Discard(uint64_t worker) {
  const std::lock_guard<std::mutex> lock(mu_);
  const auto found = workers_.find(worker);
  CALLGATE_CHECK(found != workers_.end(), "a worker is discarded once");
  Record& record = found->second;
  if (record.ended || record.lost) {
    workers_.erase(found);
    return;
  }
  KillByPidfd(record.pidfd);
  record.discarded = true;
}

void WorkerPool::Close() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    closed_ = true;
  }
  const uint64_t one = 1;
  static_cast<void>(!write(closed_fd_.get(), &one, sizeof(one)));
  changed_.notify_all();
}

WorkerPool::Counts WorkerPool::counts() const {
  const std::lock_guard<std::mutex> lock(mu_);
  Counts counts;
  counts.zygote_restarts = zygote_restarts_;
  counts.zygote_pid = zygote_.running() ? zygote_.pid() : 0;
  counts.spares = spares_.size();
  return counts;
}

// The thread: listens, and starts another zygote whenever one has ended.
void WorkerPool::Run() {
  while (true) {
    Listen();
    ZygoteEnded();
    while (!Restart()) {
    }
    const std::lock_guard<std::mutex> lock(mu_);
    if (closed_) return;
  }
}

// Until the zygote ends or the pool is closed.
void WorkerPool::Listen() {
  // Nobody else replaces the zygote.
  const int control = zygote_.control();
  while (true) {
    pollfd waiting[] = {{control, POLLIN, 0}, {closed_fd_.get(), POLLIN, 0}};
    if (poll(waiting, 2, -1) < 0 && errno != EINTR) return;
    if (waiting[1].revents != 0) return;
    ReceivedControl received;
    switch (ReceiveControl(control, received)) {
      case Transfer::kAgain:
        break;
      case Transfer::kDone: {
        const std::lock_guard<std::mutex> lock(mu_);
        Handle(std::move(received));
        changed_.notify_all();
        break;
      }
      case Transfer::kEnd:
      case Transfer::kBroken:
        return;
    }
  }
}

// Settles the affairs of a zygote that has ended, or talks nonsense.
void WorkerPool::ZygoteEnded() {
  ZygoteProcess ended;
  std::vector<UniqueFd> orphans;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (closed_) return;
    ended = std::move(zygote_);
    for (const Worker& spare : spares_) workers_[spare.id].discarded = true;
    spares_.clear();
    ordered_ = 0;
    for (auto entry = workers_.begin(); entry != workers_.end();) {
      Record& record = entry->second;
      KillByPidfd(record.pidfd);
      // Those in somebody's hands stay until they are given back.
      const bool keep = record.spawned && !record.discarded;
      if (!record.ended && !record.lost) {
        record.lost = true;
        orphans.push_back(std::move(record.pidfd));
      }
      entry = keep ? std::next(entry) : workers_.erase(entry);
    }
  }
  ended.End();
  // Not before: until its parent has ended, a worker is nobody else's child.
  for (const UniqueFd& orphan : orphans) ReapOrphan(orphan);
  changed_.notify_all();
}

// False: not yet, to be called again. True also when the pool is closed.
bool WorkerPool::Restart() {
  {
    std::unique_lock<std::mutex> lock(mu_);
    if (closed_) return true;
    const steady_clock::time_point now = steady_clock::now();
    if (now - zygote_started_ > kLongLife) pause_ = milliseconds(0);
    pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
    const auto closed = [this] { return closed_; };
    if (changed_.wait_until(lock, now + pause_, closed)) return true;
  }
  zygote_started_ = steady_clock::now();
  absl::StatusOr<ZygoteProcess> started =
      ZygoteProcess::Start(path_, closed_fd_.get());
  const std::lock_guard<std::mutex> lock(mu_);
  if (closed_) return true;
  if (!started.ok()) {
    Fail(started.status());
    return false;
  }
  zygote_ = *std::move(started);
  ++zygote_restarts_;
  fill_spares_ = true;
  Order();
  return true;
}

// Asks for as many workers as are missing.
void WorkerPool::Order() {
  if (!zygote_.running()) return;
  const size_t wanted = taking_ + (fill_spares_ ? spares_wanted_ : 0);
  while (ordered_ + spares_.size() < wanted) {
    ControlMessage order;
    order.kind = ControlMessage::Kind::kSpawn;
    order.worker = next_worker_;
    // A full socket is emptied by the zygote, whose answers lead here again;
    // of a broken one the thread takes notice.
    if (SendControl(zygote_.control(), order) != Transfer::kDone) return;
    workers_[next_worker_++];
    ++ordered_;
  }
}

void WorkerPool::Handle(ReceivedControl received) {
  const ControlMessage message = received.message;
  switch (message.kind) {
    case ControlMessage::Kind::kSpawned:
      Spawned(message.worker, std::move(received));
      break;
    case ControlMessage::Kind::kNotSpawned:
      if (workers_.erase(message.worker) == 0) break;
      --ordered_;
      Fail(absl::UnavailableError(absl::StrCat(
          "the compiler \"", path_, "\" cannot start a worker: ",
          strerror(static_cast<int>(message.value)),
          "; look at the limits on processes, memory and descriptors")));
      break;
    case ControlMessage::Kind::kEnded:
      WorkerEnded(message.worker, static_cast<int>(message.value));
      break;
    case ControlMessage::Kind::kReady:
    case ControlMessage::Kind::kSpawn:
      break;
  }
  Order();
}

void WorkerPool::Spawned(uint64_t id, ReceivedControl received) {
  const auto found = workers_.find(id);
  if (found == workers_.end() || found->second.spawned) return;
  --ordered_;
  if (!received.socket.valid() || !received.pidfd.valid()) {
    // The worker ends when its socket is closed, which happens here.
    workers_.erase(found);
    Fail(absl::UnavailableError(
        "no descriptors left for a compile worker; raise RLIMIT_NOFILE"));
    return;
  }
  found->second.spawned = true;
  found->second.pidfd = std::move(received.pidfd);
  spares_.push_back({id, std::move(received.socket)});
}

void WorkerPool::WorkerEnded(uint64_t id, int wait_status) {
  const auto found = workers_.find(id);
  if (found == workers_.end()) return;
  Record& record = found->second;
  record.ended = true;
  record.wait_status = wait_status;
  record.pidfd.Reset();
  const auto spare =
      std::find_if(spares_.begin(), spares_.end(),
                   [&](const Worker& worker) { return worker.id == id; });
  if (spare != spares_.end()) {
    // It ended before it had anything to do; the next may as well. Whoever
    // needs a worker gets one, but no more are kept waiting until that works.
    spares_.erase(spare);
    record.discarded = true;
    fill_spares_ = false;
  }
  if (record.discarded) workers_.erase(found);
}

void WorkerPool::Fail(absl::Status status) {
  failure_ = std::move(status);
  ++failures_;
  fill_spares_ = false;
  changed_.notify_all();
}

}  // namespace callgate::native
