#include "runtime/native/worker/compile_queue.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::native {

CompileQueue::CompileQueue(size_t places, size_t waiting_max)
    : places_(std::max<size_t>(1, places)),
      background_places_(std::max<size_t>(1, places_ - 1)),
      waiting_max_(waiting_max) {}

absl::Status CompileQueue::Enter(Priority priority) {
  std::unique_lock<std::mutex> lock(mu_);
  std::deque<Waiter*>& queue =
      priority == Priority::kForeground ? foreground_ : background_;
  Waiter waiter;
  queue.push_back(&waiter);
  Admit();
  if (!waiter.admitted && queue.size() > waiting_max_) {
    queue.pop_back();
    return absl::ResourceExhaustedError(
        absl::StrCat(waiting_max_, " modules wait for a compiler already"));
  }
  waiter.changed.wait(lock, [&] { return waiter.admitted || closed_; });
  if (waiter.admitted) return absl::OkStatus();
  queue.erase(std::find(queue.begin(), queue.end(), &waiter));
  return absl::CancelledError("the compile service is ending");
}

void CompileQueue::Leave(Priority priority) {
  const std::lock_guard<std::mutex> lock(mu_);
  CALLGATE_CHECK(taken_ > 0, "who leaves has entered");
  --taken_;
  if (priority == Priority::kBackground) --taken_by_background_;
  Admit();
}

size_t CompileQueue::waiting(Priority priority) const {
  const std::lock_guard<std::mutex> lock(mu_);
  return priority == Priority::kForeground ? foreground_.size()
                                           : background_.size();
}

void CompileQueue::Close() {
  const std::lock_guard<std::mutex> lock(mu_);
  closed_ = true;
  for (Waiter* const waiter : foreground_) waiter->changed.notify_one();
  for (Waiter* const waiter : background_) waiter->changed.notify_one();
}

// Takes waiters out of the queues as long as there are places for them.
void CompileQueue::Admit() {
  while (!closed_ && taken_ < places_) {
    const bool foreground = !foreground_.empty();
    if (!foreground &&
        (background_.empty() || taken_by_background_ >= background_places_)) {
      return;
    }
    std::deque<Waiter*>& queue = foreground ? foreground_ : background_;
    Waiter* const waiter = queue.front();
    queue.pop_front();
    ++taken_;
    if (!foreground) ++taken_by_background_;
    waiter->admitted = true;
    waiter->changed.notify_one();
  }
}

}  // namespace callgate::native
