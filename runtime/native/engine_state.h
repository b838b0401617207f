// What the Stores of one native engine share.

#ifndef CALLGATE_RUNTIME_NATIVE_ENGINE_STATE_H_
#define CALLGATE_RUNTIME_NATIVE_ENGINE_STATE_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "runtime/native/memory_pool.h"
#include "runtime/native/stack_pool.h"
#include "runtime/native/ticker.h"
#include "runtime/native/type_registry.h"

namespace callgate::native {

struct EngineState {
  // Whether the engine's code counts fuel.
  bool metered = true;
  std::shared_ptr<TypeRegistry> types = TypeRegistry::New();
  MemoryPool memories;
  StackPool stacks;
  Ticker ticker;
  // Counts NativeCode::Publish: Stores look at their modules when it changes.
  std::shared_ptr<std::atomic<uint64_t>> publications =
      std::make_shared<std::atomic<uint64_t>>(0);
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_ENGINE_STATE_H_
