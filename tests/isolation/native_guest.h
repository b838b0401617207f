// An engine whose compiler is in this process, and can be asked to leave out
// the checks that keep a guest on its stack and in its memory.

#ifndef CALLGATE_TESTS_ISOLATION_NATIVE_GUEST_H_
#define CALLGATE_TESTS_ISOLATION_NATIVE_GUEST_H_

#include <memory>

#include "runtime/engine.h"
#include "runtime/native/compile_request.h"

namespace callgate {

enum class Checks : uint8_t { kAll, kNone };

std::unique_ptr<Engine> NewGuestEngine(native::Level level, Checks checks);

}  // namespace callgate

#endif  // CALLGATE_TESTS_ISOLATION_NATIVE_GUEST_H_
