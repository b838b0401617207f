#include "runtime/native/worker/compiler.h"

#include <unistd.h>

#include "runtime/native/worker/protocol.h"

namespace callgate::native {

void EndOutOfMemory() { _exit(kOutOfMemoryExit); }

}  // namespace callgate::native
