// The native engine with its compiler in this process, for tests of what the
// code does. Tests only: LLVM may end the process, which in production is a
// worker's.

#ifndef CALLGATE_TESTS_SUPPORT_NATIVE_ENGINE_H_
#define CALLGATE_TESTS_SUPPORT_NATIVE_ENGINE_H_

#include <memory>

#include "runtime/engine.h"
#include "runtime/native/compile_request.h"
#include "runtime/native/native_engine.h"

namespace callgate {

// The compiler that it has; remembers what it compiled.
native::CodeSource& InProcessCompiler();

// `request.features` is ignored: the engine's options have them.
std::unique_ptr<Engine> NewInProcessNativeEngine(
    EngineOptions options, const native::CompileRequest& request);

}  // namespace callgate

#endif  // CALLGATE_TESTS_SUPPORT_NATIVE_ENGINE_H_
