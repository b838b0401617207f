// A process as a descriptor, which never comes to mean another process.
//
// By system call, since the C++ linkage of glibc 2.36's <sys/pidfd.h> is
// broken.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_PIDFD_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_PIDFD_H_

#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "runtime/native/worker/unique_fd.h"

namespace callgate::native {

// For a child that nobody has waited for yet, or the id may be another's.
// Close-on-exec. Not valid: errno says why.
inline UniqueFd OpenPidfd(pid_t child) {
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
}

// Nothing if it has ended, or `pidfd` is not valid.
inline void KillByPidfd(const UniqueFd& pidfd) {
  if (!pidfd.valid()) return;
  syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
}

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_PIDFD_H_
