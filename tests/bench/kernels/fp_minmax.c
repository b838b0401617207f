// bench: group=compute n=2000 checksum=12282788
// quick: n=2 checksum=12282
//
// f64.min and f64.max over 8,192 numbers, n times: what WebAssembly asks of
// them, NaNs and signed zeros included, is more than one instruction of x86.

#include "kernel.h"

#define COUNT 8192

static double numbers[COUNT];

#ifdef __wasm__
#define MIN __builtin_wasm_min_f64
#define MAX __builtin_wasm_max_f64
#else
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif

KERNEL int32_t run(int32_t n) {
  uint32_t seed = 99;
  for (int i = 0; i < COUNT; ++i) {
    numbers[i] = (double)(int32_t)NextRandom(&seed) / 1024.0;
  }
  double sum = 0;
  for (int32_t round = 0; round < n; ++round) {
    double low = round;
    double high = -round;
    for (int i = 0; i < COUNT; ++i) {
      low = MIN(low, numbers[i]);
      high = MAX(high, numbers[i] - low);
    }
    sum += high - low;
  }
  return (int32_t)(int64_t)(sum / 1024.0);
}
