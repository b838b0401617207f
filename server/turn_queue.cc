#include "server/turn_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/error_reason.h"

namespace callgate {

TurnQueue::TurnQueue(size_t waiting_max, std::function<void()> interrupt,
                     std::function<void()> resume)
    : waiting_max_(waiting_max),
      interrupt_(std::move(interrupt)),
      resume_(std::move(resume)) {}

absl::Status TurnQueue::ClosedStatus() const {
  return ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, reason::kStoreEnded,
      absl::StrCat("the Store has ended: ", close_reason_, "; make a new one"));
}

absl::Status TurnQueue::Take(absl::Time deadline,
                             const std::shared_ptr<CallTicket>& ticket) {
  std::unique_lock<std::mutex> lock(mu_);
  if (closed_) return ClosedStatus();
  if (ticket != nullptr && ticket->cancelled_) {
    return absl::CancelledError("the caller went away before the call began");
  }
  if (busy_ || !waiting_.empty()) {
    if (waiting_.size() >= waiting_max_) {
      return ErrorWithReason(
          absl::StatusCode::kResourceExhausted, reason::kQueueFull,
          absl::StrCat("the Store is busy and ", waiting_.size(),
                       " calls wait for it, the maximum; try again later or "
                       "use another Store"));
    }
    const char mine = 0;  // its address is this waiter's name
    const auto place = waiting_.insert(waiting_.end(), &mine);
    const auto may_go_on = [&] {
      return closed_ || (ticket != nullptr && ticket->cancelled_) ||
             (!busy_ && waiting_.front() == &mine);
    };
    bool in_time = true;
    while (!may_go_on() && in_time) {
      changed_.WaitUntil(lock, deadline);
      in_time = absl::Now() < deadline;
    }
    in_time = in_time || may_go_on();
    waiting_.erase(place);
    absl::Status given_up;
    if (closed_) {
      given_up = ClosedStatus();
    } else if (ticket != nullptr && ticket->cancelled_) {
      given_up = absl::CancelledError("the caller went away while waiting");
    } else if (!in_time) {
      given_up = absl::DeadlineExceededError(
          "the deadline passed while other calls had the Store");
    }
    if (!given_up.ok()) {
      changed_.NotifyAll();  // the place in front may be the next one's now
      return given_up;
    }
  }
  busy_ = true;
  running_ = ticket;
  interrupted_ = false;
  return absl::OkStatus();
}

void TurnQueue::Give() {
  const std::lock_guard<std::mutex> lock(mu_);
  busy_ = false;
  running_ = nullptr;
  if (interrupted_ && !closed_) resume_();
  interrupted_ = false;
  changed_.NotifyAll();
}

bool TurnQueue::cancelled() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return running_ != nullptr && running_->cancelled_;
}

void TurnQueue::Cancel(const std::shared_ptr<CallTicket>& ticket) {
  if (ticket == nullptr) return;
  const std::lock_guard<std::mutex> lock(mu_);
  if (ticket->cancelled_) return;
  ticket->cancelled_ = true;
  if (running_ == ticket && !interrupted_) {
    interrupted_ = true;
    interrupt_();
  }
  changed_.NotifyAll();
}

bool TurnQueue::Close(std::string why) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (closed_) return false;
  closed_ = true;
  close_reason_ = std::move(why);
  interrupt_();
  changed_.NotifyAll();
  return true;
}

bool TurnQueue::closed() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return closed_;
}

std::string TurnQueue::close_reason() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return close_reason_;
}

bool TurnQueue::busy() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return busy_;
}

}  // namespace callgate
