// The choices of a generator, one after another, out of a string of bytes.
//
// Whatever has chosen the bytes has chosen what is generated: a seeded random
// number generator, libFuzzer, or a shrinker that cuts a string down. When the
// bytes are used up every choice is 0, which a generator makes its simplest.

#ifndef CALLGATE_TESTS_FUZZ_BYTE_SOURCE_H_
#define CALLGATE_TESTS_FUZZ_BYTE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace callgate::fuzz {

class ByteSource {
 public:
  // `bytes` must outlive this.
  explicit ByteSource(absl::Span<const uint8_t> bytes) : bytes_(bytes) {}

  bool exhausted() const { return at_ >= bytes_.size(); }
  uint8_t Byte() { return exhausted() ? uint8_t{0} : bytes_[at_++]; }
  // Little-endian.
  uint64_t Bits(size_t bytes);
  // 0 to count - 1.
  uint32_t Below(uint32_t count);
  // True about once in `count` times, never when exhausted.
  bool OneIn(uint32_t count) { return Below(count) == count - 1; }
  // The bytes up to the given share of what is left.
  ByteSource Take(size_t parts);

 private:
  absl::Span<const uint8_t> bytes_;
  size_t at_ = 0;
};

// `size` random bytes, always the same for a seed.
std::vector<uint8_t> BytesOfSeed(uint64_t seed, size_t size);

}  // namespace callgate::fuzz

#endif  // CALLGATE_TESTS_FUZZ_BYTE_SOURCE_H_
