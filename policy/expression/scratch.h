// The memory of evaluations: registers, and an arena for the strings and lists
// that an expression makes on the way. Made once, for example for each Store,
// and used again and again; an evaluation allocates nothing else.
//
// One evaluation at a time. What it returned may look into the scratch and is
// valid until the next one.

#ifndef CALLGATE_POLICY_EXPRESSION_SCRATCH_H_
#define CALLGATE_POLICY_EXPRESSION_SCRATCH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "policy/expression/limits.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

class Arena {
 public:
  explicit Arena(size_t bytes) : memory_(new char[bytes]), bytes_(bytes) {}

  // Null if there is no room. Not initialised.
  char* TakeBytes(size_t n) {
    if (n > bytes_ - used_) return nullptr;
    char* const taken = memory_.get() + used_;
    used_ += n;
    return taken;
  }
  Value* TakeValues(size_t n) {
    const size_t aligned = (used_ + alignof(Value) - 1) & ~(alignof(Value) - 1);
    if (aligned > bytes_ || n > (bytes_ - aligned) / sizeof(Value)) {
      return nullptr;
    }
    used_ = aligned + n * sizeof(Value);
    // SAFETY: aligned from a block that new aligned for anything, in bounds by
    // the line above, and values are trivial.
    return new (memory_.get() + aligned) Value[n];
  }
  void Clear() { used_ = 0; }
  size_t used() const { return used_; }

 private:
  std::unique_ptr<char[]> memory_;
  size_t bytes_;
  size_t used_ = 0;
};

class Scratch {
 public:
  static constexpr size_t kArenaBytes = 64 * 1024;

  // More than `arena_bytes` of strings and lists is an evaluation error.
  explicit Scratch(size_t arena_bytes = kArenaBytes)
      : registers_(kRegistersMax), arena_(arena_bytes) {}

  Value* registers() { return registers_.data(); }
  Arena* arena() { return &arena_; }

 private:
  std::vector<Value> registers_;
  Arena arena_;
};

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_SCRATCH_H_
