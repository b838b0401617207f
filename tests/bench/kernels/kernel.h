// What the C kernels share: integer types without a C library, and how `run`
// is exported. KERNEL_EXPORT gives it another name, so that several kernels fit
// into one module.

#ifndef CALLGATE_TESTS_BENCH_KERNELS_KERNEL_H_
#define CALLGATE_TESTS_BENCH_KERNELS_KERNEL_H_

#include <stdint.h>

#ifndef KERNEL_EXPORT
#define KERNEL_EXPORT "run"
#endif

#ifdef __wasm__
#define KERNEL __attribute__((export_name(KERNEL_EXPORT)))
#else
#define KERNEL
#endif

// A generator with all of its state in one word (xorshift32). Never 0.
static inline uint32_t NextRandom(uint32_t* state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  *state = x;
  return x;
}

#endif  // CALLGATE_TESTS_BENCH_KERNELS_KERNEL_H_
