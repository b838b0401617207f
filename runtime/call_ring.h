// The last host calls of one Store: what it called, from where, when, and how
// it ended. For whoever has to explain an alert.
//
// The Store writes it around every host call of which its hook wants some
// transition (HookOptions::call_ring): a dozen stores and one reading of the
// processor's clock, without allocation. The call that is being judged is the
// newest one, and has not ended yet.
//
// Threads: the Store's. Functions are the Store's, so a ring is read for as
// long as the Store lives.

#ifndef CALLGATE_RUNTIME_CALL_RING_H_
#define CALLGATE_RUNTIME_CALL_RING_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/host_function_spec.h"

namespace callgate {

struct FunctionIdentity;

class CallRing {
 public:
  static constexpr size_t kCallsMax = 64;

  enum class Outcome : uint8_t {
    kRunning,   // or being judged
    kReturned,  // the host function did
    kAnswered,  // the hook did, in its place
    kRefused,   // the hook stopped the guest before it
    kStopped,   // the host function, or waiting for it, stopped the guest
  };

  struct Call {
    const FunctionIdentity* function = nullptr;
    // Counts the calls that were noted, from 0.
    uint64_t number = 0;
    // Index of the function that called; kNoIndex: the embedder did.
    uint32_t site = kNoIndex;
    Outcome outcome = Outcome::kRunning;
    // Of kReturned and kAnswered: the result, where the function's type has
    // one and it is an i32; else 0.
    uint32_t result = 0;
    // When it began: std::chrono::steady_clock, but for the first and the last
    // digits, which are the processor's.
    std::chrono::nanoseconds time{};
  };

  CallRing();
  CallRing(const CallRing&) = delete;
  CallRing& operator=(const CallRing&) = delete;

  // The number of the call, for End.
  uint64_t Begin(const FunctionIdentity& function, uint32_t site) {
    Slot& slot = slots_[noted_ % kCallsMax];
    slot.function = &function;
    slot.number = noted_;
    slot.ticks = Ticks();
    slot.site = site;
    slot.outcome = Outcome::kRunning;
    slot.result = 0;
    return noted_++;
  }
  // Nothing if so many calls were nested in this one that it is forgotten.
  void End(uint64_t number, Outcome outcome, uint32_t result) {
    Slot& slot = slots_[number % kCallsMax];
    if (slot.number != number) return;
    slot.outcome = outcome;
    slot.result = result;
  }

  // Calls noted, forgotten ones included.
  uint64_t noted() const { return noted_; }

  // Oldest first, by when they began.
  std::vector<Call> Calls() const;

 private:
  struct Slot {
    const FunctionIdentity* function = nullptr;
    uint64_t number = 0;
    uint64_t ticks = 0;
    uint32_t site = kNoIndex;
    uint32_t result = 0;
    Outcome outcome = Outcome::kRunning;
  };

  // Of the processor, where it has a clock that user code can read.
  static uint64_t Ticks() {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return static_cast<uint64_t>(
        std::chrono::steady_clock::now().time_since_epoch().count());
#endif
  }

  // One moment on both clocks; another one, when the ring is read, says how
  // fast the ticks are.
  const std::chrono::nanoseconds began_;
  const uint64_t began_ticks_;
  uint64_t noted_ = 0;
  std::array<Slot, kCallsMax> slots_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_CALL_RING_H_
