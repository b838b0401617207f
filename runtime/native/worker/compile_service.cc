#include "runtime/native/worker/compile_service.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/native/worker/conversation.h"
#include "runtime/native/worker/protocol.h"
#include "runtime/native/worker/worker_pool.h"

namespace callgate::native {
namespace {

// A worker whose socket is closed is at its end, or pretends to be.
constexpr std::chrono::seconds kEndTime(2);
// A module gets another worker when the first one was lost by no fault of its.
constexpr int kAttempts = 2;

absl::Status Rejected(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("module rejected: the compiler ", what));
}

size_t Processors() {
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

// What came of one worker.
struct CompileService::Attempt {
  absl::StatusOr<std::string> result;
  uint64_t Stats::*counter = nullptr;  // null: none
  bool again = false;  // the worker was lost, and the module not to blame
};

std::string DefaultWorkerPath() {
  std::string path(PATH_MAX, '\0');
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  path.resize(size > 0 ? static_cast<size_t>(size) : 0);
  path.resize(path.rfind('/') + 1);  // nothing if there is none
  return path + "callgate-compile";
}

absl::StatusOr<std::unique_ptr<CompileService>> CompileService::Start(
    Options options) {
  if (options.worker_path.empty()) options.worker_path = DefaultWorkerPath();
  if (options.workers == 0) options.workers = Processors();
  absl::StatusOr<std::unique_ptr<WorkerPool>> pool =
      WorkerPool::Start(options.worker_path, options.spares);
  if (!pool.ok()) return pool.status();
  return std::unique_ptr<CompileService>(
      new CompileService(std::move(options), *std::move(pool)));
}

CompileService::CompileService(Options options,
                               std::unique_ptr<WorkerPool> pool)
    : options_(std::move(options)),
      queue_({options_.workers, options_.queue_max, options_.account_queue_max,
              options_.account_memory_bytes}),
      budget_(options_.account_budget),
      pool_(std::move(pool)) {}

CompileService::~CompileService() {
  queue_.Close();
  pool_->Close();
  std::unique_lock<std::mutex> lock(mu_);
  ending_ = true;
  left_.wait(lock, [this] { return callers_ == 0; });
}

absl::StatusOr<std::string> CompileService::Compile(
    const CompileRequest& request, absl::Span<const uint8_t> module,
    Priority priority, absl::string_view account) {
  if (module.size() > kModuleBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a module of ", module.size(),
                     " bytes, over the compiler's limit of ", kModuleBytesMax));
  }
  {
    const std::lock_guard<std::mutex> lock(mu_);
    ++callers_;
  }
  absl::StatusOr<std::string> result =
      Queue(request, module, priority, account);
  const std::lock_guard<std::mutex> lock(mu_);
  if (--callers_ == 0 && ending_) left_.notify_all();
  return result;
}

CompileService::Stats CompileService::stats() const {
  const WorkerPool::Counts counts = pool_->counts();
  const std::lock_guard<std::mutex> lock(mu_);
  Stats stats = stats_;
  stats.zygote_restarts = counts.zygote_restarts;
  stats.zygote_pid = counts.zygote_pid;
  stats.spares = counts.spares;
  stats.waiting = queue_.waiting(Priority::kForeground) +
                  queue_.waiting(Priority::kBackground);
  return stats;
}

absl::StatusOr<std::string> CompileService::Queue(
    const CompileRequest& request, absl::Span<const uint8_t> module,
    Priority priority, absl::string_view account) {
  const auto check_time = [&] {
    absl::Status may = budget_.Check(account);
    if (!may.ok()) Count(&Stats::over_account_time);
    return may;
  };
  // Before it takes a place in the queue, and again when what waited before it
  // has been charged.
  if (absl::Status may = check_time(); !may.ok()) return may;
  const Order order = MakeOrder(request, module.size(), options_.limits);
  const CompileQueue::Ticket ticket = {priority, std::string(account),
                                       order.memory_bytes};
  const CompileQueue::Entered entered = queue_.Enter(ticket);
  switch (entered.refusal) {
    case CompileQueue::Refusal::kNone:
      break;
    case CompileQueue::Refusal::kAccountFull:
      Count(&Stats::account_queue_full);
      return entered.status;
    case CompileQueue::Refusal::kQueueFull:
      Count(&Stats::queue_full);
      return absl::UnavailableError(
          absl::StrCat(entered.status.message(), "; try again later"));
    case CompileQueue::Refusal::kClosed:
      return entered.status;
  }
  absl::Status may = check_time();
  absl::StatusOr<std::string> result =
      may.ok() ? CompileInTurn(order, module, account) : std::move(may);
  queue_.Leave(ticket);
  return result;
}

absl::StatusOr<std::string> CompileService::CompileInTurn(
    const Order& order, absl::Span<const uint8_t> module,
    absl::string_view account) {
  const std::chrono::steady_clock::time_point begin =
      std::chrono::steady_clock::now();
  Count(&Stats::in_flight);
  Attempt attempt = Try(order, module);
  for (int i = 1; i < kAttempts && attempt.again; ++i) {
    attempt = Try(order, module);
  }
  const std::chrono::nanoseconds took =
      std::chrono::steady_clock::now() - begin;
  const bool is_ours = attempt.counter == &Stats::unavailable;
  // Nobody pays for what was no fault of the module's.
  if (!is_ours) budget_.Charge(account, took);
  const std::lock_guard<std::mutex> lock(mu_);
  --stats_.in_flight;
  (order.request.level == Level::kOptimised ? stats_.optimised_time
                                            : stats_.baseline_time) += took;
  if (attempt.counter != nullptr) ++(stats_.*attempt.counter);
  return std::move(attempt.result);
}

CompileService::Attempt CompileService::Try(const Order& order,
                                            absl::Span<const uint8_t> module) {
  const auto unavailable = [&](absl::string_view what, bool again) {
    return Attempt{absl::UnavailableError(absl::StrCat(
                       "the compiler \"", options_.worker_path, "\" ", what)),
                   &Stats::unavailable, again};
  };
  absl::StatusOr<WorkerPool::Worker> worker = pool_->Take();
  if (!worker.ok()) {
    return {worker.status(),
            absl::IsCancelled(worker.status()) ? nullptr : &Stats::unavailable};
  }
  const std::chrono::milliseconds time = WallTimeOf(order, options_.limits);
  Conversation talk =
      Converse(worker->socket.get(), order, module,
               std::chrono::steady_clock::now() + time, pool_->closed_fd());
  WorkerPool::Ended ended = {WorkerPool::Ended::How::kStillRunning, 0};
  if (talk.end == Conversation::End::kClosed) {
    ended = pool_->AwaitEnd(worker->id, kEndTime);
  }
  pool_->Discard(worker->id);

  if (talk.end == Conversation::End::kCancelled) {
    return {absl::CancelledError("the compile service is ending")};
  }
  if (talk.end == Conversation::End::kAnswered) {
    switch (talk.kind) {
      case FrameKind::kCompiled:
        return {std::move(talk.text), &Stats::compiles};
      case FrameKind::kRefused:
        return {absl::InvalidArgumentError(talk.text), &Stats::refused};
      default:
        return unavailable(
            absl::StrCat("cannot lock its worker in: ", talk.text), false);
    }
  }
  // The worker had not seen a byte of the module.
  if (!talk.locked) {
    return unavailable("gave a worker that did not begin", true);
  }
  if (talk.end == Conversation::End::kTimedOut) {
    return {Rejected(OverTimeText(time)), &Stats::timed_out};
  }
  if (talk.end == Conversation::End::kMalformed) {
    return {Rejected(absl::StrCat("gave a malformed answer: ", talk.text)),
            &Stats::bad_answers};
  }
  switch (ended.how) {
    case WorkerPool::Ended::How::kLost:
      return unavailable("ended while it compiled", true);
    case WorkerPool::Ended::How::kStillRunning:
      return {Rejected("stopped within its answer"), &Stats::bad_answers};
    case WorkerPool::Ended::How::kEnded:
      break;
  }
  Death death = DescribeDeath(ended.wait_status, order);
  Attempt attempt = {Rejected(death.text), &Stats::crashed};
  switch (death.cause) {
    case Death::Cause::kCrash:
      break;
    case Death::Cause::kOverTime:
      attempt.counter = &Stats::timed_out;
      break;
    case Death::Cause::kOverMemory:
      attempt.counter = &Stats::over_memory;
      break;
    case Death::Cause::kNoAnswer:
      attempt.counter = &Stats::bad_answers;
      break;
  }
  return attempt;
}

void CompileService::Count(uint64_t Stats::*counter) {
  const std::lock_guard<std::mutex> lock(mu_);
  ++(stats_.*counter);
}

}  // namespace callgate::native
