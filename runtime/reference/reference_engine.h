// The reference engine: wabt's interpreter behind the runtime's Engine.
//
// Simple, slow, and the oracle that other engines are compared with. Bytes
// reach libwabt only after the admission scan, and in this process only after
// a forked child with limits on memory, time and system calls has read the
// same bytes and survived.

#ifndef CALLGATE_RUNTIME_REFERENCE_REFERENCE_ENGINE_H_
#define CALLGATE_RUNTIME_REFERENCE_REFERENCE_ENGINE_H_

#include <memory>

#include "runtime/engine.h"

namespace callgate {

std::unique_ptr<Engine> NewReferenceEngine(EngineOptions options = {});

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_REFERENCE_REFERENCE_ENGINE_H_
