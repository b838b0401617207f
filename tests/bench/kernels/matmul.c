// bench: group=compute n=4 checksum=-26607596
// quick: n=1 checksum=1067055077
//
// The product of two 192 x 192 matrices of f64, n times, without blocking.

#include "kernel.h"

#define SIZE 192

static double left[SIZE][SIZE];
static double right[SIZE][SIZE];
static double product[SIZE][SIZE];

KERNEL int32_t run(int32_t n) {
  uint32_t seed = 7;
  for (int i = 0; i < SIZE; ++i) {
    for (int j = 0; j < SIZE; ++j) {
      left[i][j] = (double)(NextRandom(&seed) & 1023) / 64.0;
      right[i][j] = (double)(NextRandom(&seed) & 1023) / 64.0;
    }
  }
  double trace = 0;
  for (int32_t round = 0; round < n; ++round) {
    left[0][0] = round;
    for (int i = 0; i < SIZE; ++i) {
      for (int j = 0; j < SIZE; ++j) {
        double sum = 0;
        for (int k = 0; k < SIZE; ++k) sum += left[i][k] * right[k][j];
        product[i][j] = sum;
      }
    }
    for (int i = 0; i < SIZE; ++i) trace += product[i][SIZE - 1 - i];
  }
  const int64_t whole = (int64_t)(trace * 4096.0);
  return (int32_t)(whole ^ (whole >> 32));
}
