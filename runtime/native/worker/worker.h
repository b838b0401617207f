// One compile worker: a freshly forked process that gives up its powers,
// compiles one module and ends.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_WORKER_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_WORKER_H_

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "runtime/native/worker/compiler.h"
#include "runtime/native/worker/protocol.h"
#include "runtime/native/worker/unique_fd.h"

namespace callgate::native {

// The parent's view of a worker.
struct ForkedWorker {
  pid_t pid = -1;
  UniqueFd socket;
  int error = 0;  // an errno, and then there is no worker
};
// Forks a worker, which talks over its end of a new socket pair. For a process
// of one thread.
ForkedWorker ForkWorker(const Compiler& compiler, bool keep_stderr);

// Reads a request, all but the module's bytes, from `socket`; waits for as long
// as it takes. InvalidArgument: what came is no request. Unavailable: the end
// came first.
absl::StatusOr<Order> ReadRequest(int socket);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_WORKER_H_
