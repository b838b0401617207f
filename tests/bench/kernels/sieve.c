// bench: group=compute n=16 checksum=1883952
// quick: n=1 checksum=78498
//
// The sieve of Eratosthenes up to 1,000,000, n times: byte stores at a stride.

#include "kernel.h"

#define LIMIT 1000000

static uint8_t composite[LIMIT + 1];

KERNEL int32_t run(int32_t n) {
  int32_t primes = 0;
  for (int32_t round = 0; round < n; ++round) {
    for (int i = 0; i <= LIMIT; ++i) composite[i] = 0;
    for (int i = 2; i <= LIMIT; ++i) {
      if (composite[i] != 0) continue;
      primes += 1 + (round & 1);
      for (int64_t j = (int64_t)i * i; j <= LIMIT; j += i) composite[j] = 1;
    }
  }
  return primes;
}
