// bench: group=compute n=4000000 checksum=409050145
// quick: n=1000 checksum=-1626153880
//
// Integer division and remainder, signed and unsigned, 32 and 64 bits wide:
// each with the checks for zero and overflow.

#include "kernel.h"

KERNEL int32_t run(int32_t n) {
  uint32_t seed = 3;
  uint64_t sum = 0;
  for (int32_t i = 0; i < n; ++i) {
    const uint32_t a = NextRandom(&seed);
    const uint32_t b = (a >> 20) | 1;
    const uint64_t wide = ((uint64_t)a << 24) ^ sum;
    sum += a / b;
    sum ^= (uint32_t)((int32_t)a % (int32_t)b);
    sum += wide / (b + 2);
    sum ^= (uint64_t)((int64_t)wide % (int64_t)(b + 4));
  }
  return (int32_t)(sum ^ (sum >> 32));
}
