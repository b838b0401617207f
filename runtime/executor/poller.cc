#include "runtime/executor/poller.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate {
namespace {

// In epoll's events, the timer's; waits count from 1.
constexpr uint64_t kTimer = 0;
// Where there is no room to wait for a descriptor, its caller looks at it
// again after so long.
constexpr std::chrono::milliseconds kLookAgain(5);

}  // namespace

absl::StatusOr<std::unique_ptr<Poller>> Poller::Start() {
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  const int timer_fd =
      timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kTimer;
  if (epoll_fd < 0 || timer_fd < 0 ||
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event) != 0) {
    const absl::Status status = absl::UnavailableError(absl::StrCat(
        "no descriptor to wait for others with: ", std::strerror(errno)));
    if (epoll_fd >= 0) close(epoll_fd);
    if (timer_fd >= 0) close(timer_fd);
    return status;
  }
  return absl::WrapUnique(new Poller(epoll_fd, timer_fd));
}

Poller::Poller(int epoll_fd, int timer_fd)
    : epoll_fd_(epoll_fd), timer_fd_(timer_fd), thread_([this] { Run(); }) {}

Poller::~Poller() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
    SetAlarmTo(Clock::now());
  }
  thread_.join();
  for (const auto& [id, wait] : waits_) {
    if (wait.own_fd >= 0) close(wait.own_fd);
  }
  close(epoll_fd_);
  close(timer_fd_);
}

Poller::Id Poller::Watch(int fd, For what, Clock::time_point until,
                         std::function<void()> callback) {
  const std::lock_guard<std::mutex> lock(mu_);
  const Id id = next_id_++;
  Wait wait;
  wait.until = until;
  wait.callback = std::move(callback);
  if (fd >= 0) {
    epoll_event event{};
    event.events = EPOLLONESHOT;
    event.events |= what == For::kReading ? EPOLLIN : EPOLLOUT;
    event.data.u64 = id;
    int watched = fd;
    int error =
        epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, watched, &event) == 0 ? 0 : errno;
    if (error == EEXIST) {
      // Somebody else waits for it: epoll knows a descriptor once.
      wait.own_fd = watched = fcntl(fd, F_DUPFD_CLOEXEC, 0);
      error = watched >= 0 &&
                      epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, watched, &event) == 0
                  ? 0
                  : ENOMEM;
    }
    if (error == 0) {
      wait.fd = watched;
    } else {
      const bool no_room = error == ENOMEM || error == ENOSPC;
      const Clock::time_point again =
          no_room ? Clock::now() + kLookAgain : Clock::now();
      wait.until = std::min(until, again);
    }
  }
  if (wait.until != Clock::time_point::max()) due_.emplace(wait.until, id);
  waits_.emplace(id, std::move(wait));
  SetAlarm();
  return id;
}

std::function<void()> Poller::Remove(Waits::iterator at) {
  Wait& wait = at->second;
  if (wait.fd >= 0) epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, wait.fd, nullptr);
  if (wait.own_fd >= 0) close(wait.own_fd);
  due_.erase({wait.until, at->first});
  std::function<void()> callback = std::move(wait.callback);
  waits_.erase(at);
  return callback;
}

void Poller::Cancel(Id id) {
  std::function<void()> dropped;  // without the lock
  std::unique_lock<std::mutex> lock(mu_);
  const auto found = waits_.find(id);
  if (found != waits_.end()) {
    dropped = Remove(found);
    return;
  }
  if (std::this_thread::get_id() == thread_.get_id()) return;
  ran_.wait(lock, [&] { return running_ != id; });
}

size_t Poller::size() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return waits_.size();
}

void Poller::SetAlarm() {
  // An alarm that comes too early costs a look, one too late a delay.
  if (due_.empty() || due_.begin()->first >= alarm_) return;
  alarm_ = due_.begin()->first;
  SetAlarmTo(alarm_);
}

void Poller::SetAlarmTo(Clock::time_point when) const {
  // 0 would turn it off.
  const auto since_boot = std::max<std::chrono::nanoseconds>(
      when.time_since_epoch(), std::chrono::nanoseconds(1));
  itimerspec alarm{};
  alarm.it_value.tv_sec = since_boot.count() / 1'000'000'000;
  alarm.it_value.tv_nsec = since_boot.count() % 1'000'000'000;
  CALLGATE_CHECK(
      timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &alarm, nullptr) == 0,
      "an alarm can be set to any time");
}

void Poller::Fire(Id id) {
  std::function<void()> callback;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    const auto found = waits_.find(id);
    if (found == waits_.end()) return;  // cancelled
    callback = Remove(found);
    running_ = id;
  }
  callback();
  callback = nullptr;
  const std::lock_guard<std::mutex> lock(mu_);
  running_ = 0;
  ran_.notify_all();
}

void Poller::Run() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = epoll_wait(epoll_fd_, events.data(),
                                 static_cast<int>(events.size()), -1);
    CALLGATE_CHECK(count >= 0 || errno == EINTR, "epoll waits");
    bool alarm = false;
    for (int i = 0; i < count; ++i) {
      const uint64_t id = events[static_cast<size_t>(i)].data.u64;
      if (id == kTimer) {
        alarm = true;
      } else {
        Fire(id);
      }
    }
    if (!alarm) continue;
    uint64_t times = 0;
    static_cast<void>(!read(timer_fd_, &times, sizeof(times)));
    for (;;) {
      Id id = 0;
      {
        const std::lock_guard<std::mutex> lock(mu_);
        if (stopping_) return;
        if (due_.empty() || due_.begin()->first > Clock::now()) {
          alarm_ = Clock::time_point::max();
          SetAlarm();
          break;
        }
        id = due_.begin()->second;
      }
      Fire(id);
    }
  }
}

}  // namespace callgate
