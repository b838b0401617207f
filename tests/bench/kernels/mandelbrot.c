// bench: group=compute n=400 checksum=7539446
// quick: n=8 checksum=3633
//
// The Mandelbrot set on n x n points, at most 200 steps each: f64 arithmetic
// in registers and a branch that depends on it.

#include "kernel.h"

KERNEL int32_t run(int32_t n) {
  int32_t steps = 0;
  for (int32_t py = 0; py < n; ++py) {
    const double y0 = 2.4 * py / n - 1.2;
    for (int32_t px = 0; px < n; ++px) {
      const double x0 = 3.0 * px / n - 2.0;
      double x = 0;
      double y = 0;
      int step = 0;
      for (; step < 200 && x * x + y * y <= 4.0; ++step) {
        const double next = x * x - y * y + x0;
        y = 2.0 * x * y + y0;
        x = next;
      }
      steps += step;
    }
  }
  return steps;
}
