// bench: group=compute n=120 checksum=-1393440645
// quick: n=1 checksum=1771957624
//
// Memory as a stream: 4 MiB are copied a word at a time, scaled and added up,
// n times. It does not fit the nearer caches.

#include "kernel.h"

#define WORDS (512 * 1024)

static uint64_t from[WORDS];
static uint64_t to[WORDS];

KERNEL int32_t run(int32_t n) {
  for (uint32_t i = 0; i < WORDS; ++i) from[i] = i * 0x9e3779b97f4a7c15u;
  uint64_t sum = 0;
  for (int32_t round = 0; round < n; ++round) {
    from[round & (WORDS - 1)] ^= (uint64_t)round;
    for (uint32_t i = 0; i < WORDS; ++i) to[i] = from[i] + sum;
    for (uint32_t i = 0; i < WORDS; i += 8) sum += to[i] ^ to[i + 5];
  }
  return (int32_t)(sum ^ (sum >> 32));
}
