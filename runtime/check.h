// CALLGATE_CHECK: ends the process when something that this program itself
// guarantees turns out to be false.
//
// For our own bugs only. What a guest, a caller or the operating system can
// cause is an absl::Status or a result value, never a failed check.

#ifndef CALLGATE_RUNTIME_CHECK_H_
#define CALLGATE_RUNTIME_CHECK_H_

namespace callgate {

// Writes the broken belief to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const char* belief);

}  // namespace callgate

#define CALLGATE_CHECK(condition, belief)               \
  (__builtin_expect(static_cast<bool>(condition), true) \
       ? static_cast<void>(0)                           \
       : ::callgate::CheckFailed(__FILE__, __LINE__, #condition, belief))

#ifdef NDEBUG
#define CALLGATE_DCHECK(condition, belief) static_cast<void>(0)
#else
#define CALLGATE_DCHECK(condition, belief) CALLGATE_CHECK(condition, belief)
#endif

#endif  // CALLGATE_RUNTIME_CHECK_H_
