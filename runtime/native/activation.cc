#include "runtime/native/activation.h"

#include <cstddef>
#include <type_traits>

#include "runtime/native/activation_offsets.h"

namespace callgate::native {

static_assert(std::is_standard_layout_v<Activation> &&
                  std::is_standard_layout_v<StoreContext> &&
                  std::is_standard_layout_v<ExceptionHandler>,
              "assembly knows their layout");
static_assert(offsetof(Activation, stack_pointer) == CALLGATE_ACTIVATION_RSP);
static_assert(offsetof(ContextHeader, store) == CALLGATE_CONTEXT_STORE);
static_assert(offsetof(StoreContext, fuel) == CALLGATE_STORE_FUEL);
static_assert(offsetof(StoreContext, handler) == CALLGATE_STORE_HANDLER);
static_assert(offsetof(ExceptionHandler, outer) == CALLGATE_HANDLER_OUTER);
static_assert(offsetof(ExceptionHandler, stack_pointer) ==
              CALLGATE_HANDLER_RSP);
// Returned in rax and rdx.
static_assert(sizeof(EnterResult) == 16 &&
              std::is_trivially_copyable_v<EnterResult>);

}  // namespace callgate::native
