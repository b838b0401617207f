// The lines of this file are those that source_lines_test.cc names.
#include "lines_inline.h"

int divide(int a, const int* b);

// Not called: the linker throws it away, and its lines with it.
int unused(int* where) {
  return divide(3, where);
}

int run(int* where) {
  int sum = twice(where);
  sum += divide(sum, where + 1);
  if (sum == 7) {
    __builtin_trap();
  }
  return sum;
}
