// The fuel of one Store: a tank, and the budgets of the calls that are live.
//
// Guests burn fuel; the engine says how much for what (limits.h, CallOptions).
// What a guest may burn is the least of two things:
//
//   * the tank. It belongs to the Store, outlives calls, and has no bound until
//     Set gives it one. The embedder, the call hook and host functions may look
//     at it, set it, add to it and take from it.
//   * the budgets: CallOptions::fuel of each live call. A budget is a ceiling.
//     Nothing raises one: not Set, not Add, and not a nested call, whose own
//     budget can only be lower than what the calls around it have left. Fuel
//     that is set or added beyond a budget stays in the tank, and is there when
//     that call has ended.
//
// So a call whose hook or host functions shall refuel it is made without a
// budget, or with one as large as it may ever become.
//
// When: what is set, added or taken during a hook's event or a host function
// counts from the moment it returns to the guest, in every activation of the
// Store, and left() is exact there. A guest that has no fuel left ends with
// TrapCode::kOutOfFuel where the engine looks next (limits.h has the bound). A
// call that begins without fuel ends at its first operator.
//
// Threads: the Store's, as everything of it.

#ifndef CALLGATE_RUNTIME_FUEL_H_
#define CALLGATE_RUNTIME_FUEL_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "runtime/trap.h"

namespace callgate {

namespace backend {
class Host;
}  // namespace backend

class Fuel {
 public:
  // The most that Set and Add leave in the tank.
  static constexpr uint64_t kTankMax = uint64_t{1} << 62;

  // `metered`: whether the engine counts fuel. Where it does not, every
  // function that changes anything answers FailedPrecondition.
  explicit Fuel(bool metered) : metered_(metered) {}
  Fuel(const Fuel&) = delete;
  Fuel& operator=(const Fuel&) = delete;

  bool metered() const { return metered_; }
  // Burnt and consumed since the Store was made.
  uint64_t used() const { return used_; }
  // In the tank; nothing: it has no bound.
  std::optional<uint64_t> tank() const;
  // What may be used now: the least of the tank and all live budgets; nothing:
  // neither has a bound.
  std::optional<uint64_t> left() const;

  // Sets the tank; nothing takes its bound away. InvalidArgument over kTankMax.
  absl::Status Set(std::optional<uint64_t> units);
  // Adds to the tank. FailedPrecondition when it has no bound, InvalidArgument
  // when it would hold more than kTankMax.
  absl::Status Add(uint64_t units);
  // Takes from the tank and from all live budgets, as if the guest had burnt
  // it. All or nothing: ResourceExhausted when less is left.
  absl::Status Consume(uint64_t units);

  // What a host function returns when the guest cannot pay: a TrapError of
  // TrapCode::kOutOfFuel.
  static ErrorRef Spent();

 private:
  friend class StoreImpl;
  friend class backend::Host;

  // Everything is kept as a value that `used_` will have: when the tank is
  // empty, when the innermost budget is spent, and the nearer of the two.
  static constexpr uint64_t kNever = ~uint64_t{0};

  static std::optional<uint64_t> Until(uint64_t end, uint64_t now);
  absl::Status CheckMetered() const;
  void Aim() { end_ = tank_end_ < budget_end_ ? tank_end_ : budget_end_; }

  // For the engine: all ones stand for no bound. Burn takes at most what is
  // left.
  uint64_t Left() const { return end_ == kNever ? kNever : end_ - used_; }
  void Burn(uint64_t units) {
    const uint64_t left = Left();
    used_ += units < left ? units : left;
  }
  // Puts a budget on top of those that are live; what Release wants later.
  uint64_t Tighten(std::optional<uint64_t> budget);
  void Release(uint64_t outer);

  const bool metered_;
  uint64_t used_ = 0;
  uint64_t tank_end_ = kNever;
  uint64_t budget_end_ = kNever;
  uint64_t end_ = kNever;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_FUEL_H_
