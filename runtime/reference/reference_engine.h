// The reference engine: wabt's interpreter behind the runtime's Engine.
//
// Simple, slow, and the oracle that other engines are compared with. Bytes
// reach libwabt only after the admission scan, and in this process only after
// a forked child with limits on memory, time and system calls has read the
// same bytes and survived.
//
// Where wabt does not let it be right: a direct tail call of an import is
// decoded as a call, so it takes a frame, and a probed function that makes one
// is left after the callee instead of before (runtime/probe.h). Where the
// caller has operands beneath the arguments, these stay on wabt's stack and
// displace the operands and locals of the functions further out: results are
// wrong then, and values may be taken for ones of another type. Direct tail
// calls of the module's own functions are suspected of the same: generated
// modules with one differ from native code in ways that look alike and are not
// explained yet. Tail calls are off by default, and not for guests that nobody
// trusts on this engine.

#ifndef CALLGATE_RUNTIME_REFERENCE_REFERENCE_ENGINE_H_
#define CALLGATE_RUNTIME_REFERENCE_REFERENCE_ENGINE_H_

#include <memory>

#include "runtime/engine.h"

namespace callgate {

std::unique_ptr<Engine> NewReferenceEngine(EngineOptions options = {});

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_REFERENCE_REFERENCE_ENGINE_H_
