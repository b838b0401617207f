// What an evaluation costs, in steps, and how large its values can become.
//
// A step is about a nanosecond or a few. Every instruction costs one step; one
// that looks at data costs more, by the functions below. They are used twice:
// the compiler calls them with the sizes that values can have at most, which
// gives the bound of a program, and the evaluator with the sizes that they
// have. All of them grow with their arguments, so what an evaluation counts
// never exceeds the bound.
//
//   bound(a, b)            = bound(a) + bound(b), one after the other
//   bound(c ? a : b)       = bound(c) + max(bound(a), bound(b)) + 3
//   bound(a && b && ...)   = the sum over the operands + 1 each + 1
//   bound(quantifier)      = bound(range) + 3 +
//                            items(range) * (bound(body) + 3)
//
// where items(range) is how long the list can be: a literal's length, what a
// fact promises, the sum for `+`. Facts promise bytes of a string and elements
// of a list in the schema.

#ifndef CALLGATE_POLICY_EXPRESSION_COST_H_
#define CALLGATE_POLICY_EXPRESSION_COST_H_

#include <algorithm>
#include <cstdint>
#include <limits>

namespace callgate::policy::expression {

// Sums and products of bounds end at the largest number instead of wrapping.
inline uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  return a > std::numeric_limits<uint64_t>::max() - b
             ? std::numeric_limits<uint64_t>::max()
             : a + b;
}
inline uint64_t SaturatingMultiply(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product)
             ? std::numeric_limits<uint64_t>::max()
             : product;
}

// Bytes that are copied or compared in a step.
inline constexpr uint64_t kBytesPerStep = 16;

inline uint64_t BytesCost(uint64_t bytes) { return bytes / kBytesPerStep; }

// Looking at one value that is no list: comparing it, say.
inline uint64_t ScalarCost(uint64_t bytes) { return 1 + BytesCost(bytes); }

inline uint64_t SearchCost(uint64_t bytes, uint64_t needle_bytes) {
  return SaturatingAdd(bytes, needle_bytes) / 4;
}

inline uint64_t PatternsCost(uint64_t patterns, uint64_t bytes) {
  return SaturatingAdd(
      BytesCost(bytes),
      SaturatingMultiply(patterns, SaturatingAdd(1, bytes / 2)));
}

// `words` of the globs together; see glob_list.h.
inline uint64_t GlobsCost(uint64_t globs, uint64_t words, uint64_t bytes) {
  return SaturatingAdd(SaturatingMultiply(globs, 2 + BytesCost(bytes)),
                       SaturatingMultiply(words, bytes) / 2);
}

// Sixteen halvings at most, and the text of an address.
inline constexpr uint64_t kNetworksCost = 24;

// How large a value can be.
struct SizeBound {
  // Of a string: its bytes; of a list: of the longest string in it.
  uint64_t bytes = 0;
  // Of a list: its elements, or those of a list in it if that has more.
  uint64_t items = 0;
  // The ScalarCost of everything in it, and one for each list.
  uint64_t total = 1;
};

inline SizeBound BoundOfString(uint64_t bytes) {
  return {bytes, 0, ScalarCost(bytes)};
}

// Of a value that is one of the two.
inline SizeBound Either(SizeBound a, SizeBound b) {
  return {std::max(a.bytes, b.bytes), std::max(a.items, b.items),
          std::max(a.total, b.total)};
}

// Of a + b.
inline SizeBound BoundOfSum(SizeBound a, SizeBound b) {
  return {SaturatingAdd(a.bytes, b.bytes), SaturatingAdd(a.items, b.items),
          SaturatingAdd(SaturatingAdd(a.total, b.total), 1)};
}

// Segments of one path; more are an evaluation error.
inline constexpr uint64_t kSegmentsMax = 256;

inline SizeBound BoundOfSegments(uint64_t bytes) {
  const uint64_t items = std::min(kSegmentsMax, SaturatingAdd(bytes / 2, 1));
  return {bytes, items,
          SaturatingAdd(SaturatingAdd(1, items), BytesCost(bytes))};
}

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_COST_H_
