// How a compile worker gives up its powers, in the worker, before it sees a
// byte of a stranger's module.
//
// In three steps, because what needs a power comes before it is gone and off
// the way of a request: LeaveParent and SystemCallFilter::Build while the
// worker waits as a spare, Confine when its order has come. For a process of
// one thread; nothing here can be undone.
//
// With a sanitizer, address space, file size and system calls stay as they are:
// sanitizers map terabytes of shadow and make system calls of their own.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_CONFINE_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_CONFINE_H_

#include <linux/filter.h>
#include <sys/types.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace callgate::native {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    defined(CALLGATE_UBSAN)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// The only descriptor that a worker has: its socket.
inline constexpr int kWorkerFd = 3;

// Ends with `parent`, cannot be traced or gain privileges, leaves no core,
// handles signals as by default, and has no descriptor but `socket`, which
// becomes kWorkerFd. SIGTERM, SIGINT and SIGHUP stay blocked: a service
// manager sends them to the whole group while the daemon still drains, and a
// worker that dies of one would look like a crash. `keep_stderr` is for
// programs run by hand.
absl::Status LeaveParent(int socket, pid_t parent, bool keep_stderr);

// The process's address space now, in bytes; 0 when it cannot be told.
uint64_t AddressSpaceNow();

// What system calls the worker may make, as the kernel takes it.
//
// Allowed: memory that is not executable, threads of its own process, clocks,
// its own signals, reading and writing what is open. Answered with an error
// without being made, since libraries ask on the way to an error message:
// lseek, fstat, ioctl; and clone3, whose flags a filter cannot see, so that the
// C library falls back to clone. All others end the process with SIGSYS.
class SystemCallFilter {
 public:
  // For the calling process: only signals to itself are allowed.
  static absl::StatusOr<SystemCallFilter> Build();
  absl::Status Load() const;

 private:
  explicit SystemCallFilter(std::vector<sock_filter> program)
      : program_(std::move(program)) {}

  std::vector<sock_filter> program_;
};

struct Confinement {
  uint64_t address_space = 0;  // in total; 0: no limit
  uint64_t cpu_seconds = 0;
  bool nice = false;  // yields to others
};
absl::Status Confine(const Confinement& confinement,
                     const SystemCallFilter& filter);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_CONFINE_H_
