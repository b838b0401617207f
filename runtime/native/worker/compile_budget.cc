#include "runtime/native/worker/compile_budget.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::native {
namespace {

using std::chrono::nanoseconds;

// Accounts beyond which full ones are looked for.
constexpr size_t kForgetAtLeast = 64;

// Rounded up to a second.
std::string Seconds(nanoseconds time) {
  return absl::StrCat(std::chrono::ceil<std::chrono::seconds>(time).count(),
                      " s");
}

}  // namespace

CompileBudget::CompileBudget(Options options)
    : options_(std::move(options)), forget_at_(kForgetAtLeast) {
  CALLGATE_CHECK(
      options_.amount.count() > 0 && options_.window.count() > 0,
      "a budget of compile time has an amount and a window of its own");
}

absl::Status CompileBudget::Check(absl::string_view account) const {
  if (account.empty()) return absl::OkStatus();
  const std::lock_guard<std::mutex> lock(mu_);
  // absl::string_view is not std::string_view everywhere.
  const auto found = accounts_.find(std::string(account));
  if (found == accounts_.end()) return absl::OkStatus();
  const nanoseconds missing = MissingNow(found->second, options_.now());
  if (missing < options_.amount) return absl::OkStatus();
  // Until a tenth of the bucket is there: what comes back by itself one second
  // after another is soon gone.
  const double wanted =
      static_cast<double>((missing - options_.amount).count()) +
      0.1 * static_cast<double>(nanoseconds(options_.amount).count());
  const double rate = static_cast<double>(options_.amount.count()) /
                      static_cast<double>(options_.window.count());
  const nanoseconds wait(static_cast<int64_t>(wanted / rate));
  return absl::ResourceExhaustedError(absl::StrCat(
      account, " has used ", Seconds(missing),
      " of compile time, where the budget is ", Seconds(options_.amount),
      " in ", Seconds(options_.window), "; try again in ", Seconds(wait),
      ", or have the budget raised"));
}

void CompileBudget::Charge(absl::string_view account, nanoseconds used) {
  if (account.empty() || used <= nanoseconds(0)) return;
  const Clock::time_point now = options_.now();
  const std::lock_guard<std::mutex> lock(mu_);
  if (accounts_.size() >= forget_at_) ForgetFull(now);
  Missing& missing = accounts_[std::string(account)];
  missing.time = MissingNow(missing, now) + used;
  missing.at = now;
}

size_t CompileBudget::accounts() const {
  const Clock::time_point now = options_.now();
  const std::lock_guard<std::mutex> lock(mu_);
  return static_cast<size_t>(
      std::count_if(accounts_.begin(), accounts_.end(), [&](const auto& each) {
        return MissingNow(each.second, now) > nanoseconds(0);
      }));
}

nanoseconds CompileBudget::MissingNow(const Missing& missing,
                                      Clock::time_point now) const {
  if (missing.time <= nanoseconds(0)) return nanoseconds(0);
  const double rate = static_cast<double>(options_.amount.count()) /
                      static_cast<double>(options_.window.count());
  const double back = rate * static_cast<double>((now - missing.at).count());
  const double left = static_cast<double>(missing.time.count()) - back;
  return nanoseconds(left <= 0 ? 0 : static_cast<int64_t>(left));
}

// Looks at each account once for every doubling, so that it costs next to
// nothing for each charge.
void CompileBudget::ForgetFull(Clock::time_point now) {
  for (auto each = accounts_.begin(); each != accounts_.end();) {
    each = MissingNow(each->second, now) == nanoseconds(0)
               ? accounts_.erase(each)
               : std::next(each);
  }
  forget_at_ = std::max(kForgetAtLeast, 2 * accounts_.size());
}

}  // namespace callgate::native
