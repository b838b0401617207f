// How large an expression may be. What is refused for size is refused when it
// is compiled; nothing here is a limit at evaluation except the scratch memory.

#ifndef CALLGATE_POLICY_EXPRESSION_LIMITS_H_
#define CALLGATE_POLICY_EXPRESSION_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace callgate::policy::expression {

struct Limits {
  size_t source_bytes_max = 32 * 1024;
  size_t nodes_max = 8 * 1024;
  // Of operators and brackets within each other.
  int depth_max = 100;
  size_t instructions_max = 16 * 1024;
  // Bound on the steps of one evaluation, see cost.h.
  uint64_t cost_max = 1'000'000;
  size_t problems_max = 20;
};

// Places for values that an instruction can name; a program that needs more is
// refused, and a Scratch has as many.
inline constexpr size_t kRegistersMax = 2048;

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_LIMITS_H_
