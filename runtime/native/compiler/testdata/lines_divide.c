#include "lines_inline.h"

__attribute__((noinline)) int divide(int a, const int* b) {
  int twice_b = twice(b);
  return a / twice_b;
}
