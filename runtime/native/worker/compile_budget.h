// How much compile time each account may still use: a bucket that holds
// `amount` and fills from empty within `window`.
//
// An account is whoever the modules are compiled for; the empty one is the
// program's own and has no bound. What a compilation takes is known afterwards,
// so an account may owe some: at most what it had in progress when its bucket
// became empty, which the deadlines bound. It then waits until the debt is paid
// off.
//
// Accounts whose bucket is full take no memory, and each other one has used
// time lately, so their number is bounded by the time there is.
//
// Any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_BUDGET_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_BUDGET_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace callgate::native {

class CompileBudget {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    // Of the wall clock, while a worker has a module of the account.
    std::chrono::milliseconds amount = std::chrono::minutes(10);
    std::chrono::milliseconds window = std::chrono::minutes(20);
    // For tests.
    std::function<Clock::time_point()> now = [] { return Clock::now(); };
  };

  explicit CompileBudget(Options options);

  // ResourceExhausted when the account has used up its time; says how much
  // there is and when there is some again.
  absl::Status Check(absl::string_view account) const;
  void Charge(absl::string_view account, std::chrono::nanoseconds used);

  // Those whose bucket is not full.
  size_t accounts() const;

 private:
  // What is missing from a full bucket, at `at`.
  struct Missing {
    std::chrono::nanoseconds time{0};
    Clock::time_point at;
  };

  std::chrono::nanoseconds MissingNow(const Missing& missing,
                                      Clock::time_point now) const;
  void ForgetFull(Clock::time_point now);

  const Options options_;

  mutable std::mutex mu_;
  // Guarded by mu_.
  std::map<std::string, Missing, std::less<>> accounts_;
  size_t forget_at_ = 0;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_BUDGET_H_
