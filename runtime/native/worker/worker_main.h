// The program `callgate-compile`, all but the compiler: the other side of
// CompileService's process boundary.
//
//   callgate-compile --zygote --fd N       started by the daemon: serves it
//   over
//                                          the socket N
//   callgate-compile FILE [-o OUT] ...     compiles one module by hand, in a
//                                          worker with the same limits
//   callgate-compile --help
//
// Each module is compiled in a process of its own, which has given up its
// powers before it reads the first byte and ends after the answer. Needs Linux
// 5.9.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_WORKER_MAIN_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_WORKER_MAIN_H_

#include "runtime/native/worker/compiler.h"

namespace callgate::native {

// To be called from main() before any thread is started. Returns the exit
// code: 0, 1 when the module was refused, 2 when there was no compiling.
int WorkerMain(int argc, char** argv, const Compiler& compiler);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_WORKER_MAIN_H_
