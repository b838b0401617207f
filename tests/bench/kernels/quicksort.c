// bench: group=compute n=500000 checksum=1875103944
// quick: n=1000 checksum=-530379079
//
// Quicksort of n random numbers with a stack of its own: branches that cannot
// be predicted, loads and stores. n is at most 4,000,000.

#include "kernel.h"

#define MAX 4000000

static int32_t numbers[MAX];
static int32_t stack[256];

static void Sort(int32_t count) {
  int top = 0;
  stack[top++] = 0;
  stack[top++] = count - 1;
  while (top > 0) {
    int32_t high = stack[--top];
    int32_t low = stack[--top];
    while (low < high) {
      const int32_t pivot = numbers[low + (high - low) / 2];
      int32_t i = low;
      int32_t j = high;
      while (i <= j) {
        while (numbers[i] < pivot) ++i;
        while (numbers[j] > pivot) --j;
        if (i <= j) {
          const int32_t kept = numbers[i];
          numbers[i++] = numbers[j];
          numbers[j--] = kept;
        }
      }
      // The larger part waits, so that the stack stays short.
      if (j - low < high - i) {
        stack[top++] = i;
        stack[top++] = high;
        high = j;
      } else {
        stack[top++] = low;
        stack[top++] = j;
        low = i;
      }
    }
  }
}

KERNEL int32_t run(int32_t n) {
  if (n < 0 || n > MAX) __builtin_trap();
  uint32_t seed = 12345;
  for (int32_t i = 0; i < n; ++i) numbers[i] = (int32_t)NextRandom(&seed);
  Sort(n);
  uint32_t sum = 0;
  for (int32_t i = 0; i < n; ++i) sum = sum * 31 + (uint32_t)numbers[i];
  return (int32_t)sum;
}
