// The zygote: a process of one thread that never sees a module, and forks
// compile workers when the daemon orders them.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_ZYGOTE_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_ZYGOTE_H_

#include "runtime/native/worker/compiler.h"

namespace callgate::native {

// Serves the daemon at the other end of `control` (control.h) until it closes
// its end, then ends all workers. Returns the exit code. Messages to people go
// to stderr.
int RunZygote(int control, const Compiler& compiler);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_ZYGOTE_H_
