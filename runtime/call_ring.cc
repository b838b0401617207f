#include "runtime/call_ring.h"

#include <algorithm>

namespace callgate {
namespace {

std::chrono::nanoseconds SteadyNow() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

CallRing::CallRing() : began_(SteadyNow()), began_ticks_(Ticks()) {}

std::vector<CallRing::Call> CallRing::Calls() const {
  const std::chrono::nanoseconds now = SteadyNow();
  const uint64_t now_ticks = Ticks();
  // A machine whose ticks went back (it was moved, or asleep) has no better
  // answer than the two ends.
  const double nanos_of_tick =
      now_ticks > began_ticks_
          ? static_cast<double>((now - began_).count()) /
                static_cast<double>(now_ticks - began_ticks_)
          : 0;
  const auto time_of = [&](uint64_t ticks) {
    if (ticks <= began_ticks_) return began_;
    const double since =
        static_cast<double>(ticks - began_ticks_) * nanos_of_tick;
    return std::min(
        now, began_ + std::chrono::nanoseconds(static_cast<int64_t>(since)));
  };
  std::vector<Call> calls;
  const uint64_t kept = std::min<uint64_t>(noted_, kCallsMax);
  calls.reserve(static_cast<size_t>(kept));
  for (uint64_t number = noted_ - kept; number < noted_; ++number) {
    const Slot& slot = slots_[number % kCallsMax];
    Call call;
    call.function = slot.function;
    call.number = slot.number;
    call.site = slot.site;
    call.outcome = slot.outcome;
    call.result = slot.result;
    call.time = time_of(slot.ticks);
    calls.push_back(call);
  }
  return calls;
}

}  // namespace callgate
