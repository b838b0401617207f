// The host's errno as WASI numbers it, and system calls that signals interrupt.

#ifndef CALLGATE_RUNTIME_WASI_HOST_ERRNO_H_
#define CALLGATE_RUNTIME_WASI_HOST_ERRNO_H_

#include <cerrno>

#include "runtime/wasi/abi.h"

namespace callgate {
namespace wasi {

// kIo for numbers that WASI does not know.
Errno FromHostErrno(int host_errno);

// Calls until the answer is not EINTR: a signal to the daemon is not the
// guest's business.
template <typename Call>
auto RetryOnSignal(Call call) -> decltype(call()) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_HOST_ERRNO_H_
