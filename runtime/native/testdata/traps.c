// One way to trap in each function; backtrace_lines_test.cc names the lines.
#define EXPORT __attribute__((noinline, used, visibility("default")))

EXPORT void stop(int now) {
  if (now) __builtin_trap();
}

EXPORT int peek(const int* where) {
  return *where;
}

EXPORT int divide(int a, int b) {
  return a / b;
}

EXPORT int outer(int a, int b) {
  int sum = divide(a, 2);
  sum += divide(b, a - a);
  return sum + 1;
}

static inline __attribute__((always_inline)) int inlined(int a, int b) {
  return 7 +
         a / b;
}

EXPORT int around(int a, int b) {
  return inlined(a, b) * 3;
}

EXPORT int endless(int a) {
  if (a == 0) return 0;
  return endless(a + 1) + 1;
}

typedef int Unary(int);
EXPORT int indirect(unsigned where) {
  return ((Unary*)where)(3) + 1;
}

void _start(void) {
  stop(0);
}
