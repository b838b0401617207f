// bench: group=compute n=100000000 checksum=-1470482478
// quick: n=1000 checksum=1469656460
//
// Additions in registers: one loop, nothing else. Fibonacci numbers modulo
// 2^64, folded into one word.

#include "kernel.h"

KERNEL int32_t run(int32_t n) {
  uint64_t a = 0;
  uint64_t b = 1;
  for (int32_t i = 0; i < n; ++i) {
    const uint64_t next = a + b;
    a = b;
    b = next;
  }
  return (int32_t)(a ^ (a >> 32));
}
