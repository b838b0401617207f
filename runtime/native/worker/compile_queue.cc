#include "runtime/native/worker/compile_queue.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::native {
namespace {

CompileQueue::Bounds WithOnePlace(CompileQueue::Bounds bounds) {
  bounds.places = std::max<size_t>(1, bounds.places);
  return bounds;
}

}  // namespace

CompileQueue::CompileQueue(const Bounds& bounds)
    : bounds_(WithOnePlace(bounds)),
      background_places_(std::max<size_t>(1, bounds_.places - 1)) {}

std::deque<CompileQueue::Waiter*>& CompileQueue::QueueOf(Account& account,
                                                         Priority priority) {
  return priority == Priority::kForeground ? account.foreground
                                           : account.background;
}

CompileQueue::Entered CompileQueue::Enter(const Ticket& ticket) {
  std::unique_lock<std::mutex> lock(mu_);
  const auto account = accounts_.emplace(ticket.account, Account()).first;
  std::deque<Waiter*>& queue = QueueOf(account->second, ticket.priority);
  size_t& waiting = ticket.priority == Priority::kForeground
                        ? waiting_foreground_
                        : waiting_background_;
  Waiter waiter;
  waiter.ticket = &ticket;
  queue.push_back(&waiter);
  ++waiting;
  Admit();
  Entered refused;
  if (!waiter.admitted && !ticket.account.empty() &&
      queue.size() > bounds_.account_waiting_max) {
    refused = {Refusal::kAccountFull,
               absl::ResourceExhaustedError(absl::StrCat(
                   ticket.account, " has ", bounds_.account_waiting_max,
                   " modules waiting for a compiler, the maximum for one; wait "
                   "for them, or have the maximum raised"))};
  } else if (!waiter.admitted && waiting > bounds_.waiting_max) {
    refused = {
        Refusal::kQueueFull,
        absl::ResourceExhaustedError(absl::StrCat(
            bounds_.waiting_max, " modules wait for a compiler already"))};
  } else {
    waiter.changed.wait(lock, [&] { return waiter.admitted || closed_; });
    if (waiter.admitted) return {};
    refused = {Refusal::kClosed,
               absl::CancelledError("the compile service is ending")};
  }
  queue.erase(std::find(queue.begin(), queue.end(), &waiter));
  --waiting;
  ForgetIfIdle(account);
  return refused;
}

void CompileQueue::Leave(const Ticket& ticket) {
  const std::lock_guard<std::mutex> lock(mu_);
  const auto account = accounts_.find(ticket.account);
  CALLGATE_CHECK(
      taken_ > 0 && account != accounts_.end() && account->second.running > 0,
      "who leaves has entered");
  --taken_;
  if (ticket.priority == Priority::kBackground) --taken_by_background_;
  --account->second.running;
  account->second.memory_bytes -= ticket.memory_bytes;
  Admit();
  ForgetIfIdle(account);
}

size_t CompileQueue::waiting(Priority priority) const {
  const std::lock_guard<std::mutex> lock(mu_);
  return priority == Priority::kForeground ? waiting_foreground_
                                           : waiting_background_;
}

void CompileQueue::Close() {
  const std::lock_guard<std::mutex> lock(mu_);
  closed_ = true;
  for (auto& [name, account] : accounts_) {
    for (Waiter* const waiter : account.foreground) {
      waiter->changed.notify_one();
    }
    for (Waiter* const waiter : account.background) {
      waiter->changed.notify_one();
    }
  }
}

CompileQueue::Accounts::iterator CompileQueue::Next(Priority priority) {
  auto next = accounts_.end();
  for (auto each = accounts_.begin(); each != accounts_.end(); ++each) {
    Account& account = each->second;
    const std::deque<Waiter*>& queue = QueueOf(account, priority);
    if (queue.empty()) continue;
    const uint64_t wanted = queue.front()->ticket->memory_bytes;
    const uint64_t max = bounds_.account_memory_bytes_max;
    if (!each->first.empty() && account.running > 0 &&
        (account.memory_bytes > max || wanted > max - account.memory_bytes)) {
      continue;
    }
    if (next == accounts_.end() ||
        std::tie(account.running, account.served) <
            std::tie(next->second.running, next->second.served)) {
      next = each;
    }
  }
  return next;
}

// Takes waiters out of the queues as long as there are places for them.
void CompileQueue::Admit() {
  while (!closed_ && taken_ < bounds_.places) {
    Priority priority = Priority::kForeground;
    auto next = Next(priority);
    if (next == accounts_.end() && taken_by_background_ < background_places_) {
      priority = Priority::kBackground;
      next = Next(priority);
    }
    if (next == accounts_.end()) return;
    Account& account = next->second;
    std::deque<Waiter*>& queue = QueueOf(account, priority);
    Waiter* const waiter = queue.front();
    queue.pop_front();
    ++taken_;
    if (priority == Priority::kForeground) {
      --waiting_foreground_;
    } else {
      --waiting_background_;
      ++taken_by_background_;
    }
    ++account.running;
    account.memory_bytes += waiter->ticket->memory_bytes;
    account.served = ++admissions_;
    waiter->admitted = true;
    waiter->changed.notify_one();
  }
}

// Its place in the order is lost with it: who has nothing waiting begins anew.
void CompileQueue::ForgetIfIdle(Accounts::iterator account) {
  if (account->second.running == 0 && account->second.foreground.empty() &&
      account->second.background.empty()) {
    accounts_.erase(account);
  }
}

}  // namespace callgate::native
