// Going into compiled code and coming out of it, in assembly: the parts that
// C++ has no words for.
//
// An activation begins with callgate_enter and ends when the entry trampoline
// returns or when anything called from it, however deep, calls
// callgate_unwind. The frames in between are dropped as they are, so none of
// them may hold a C++ object with a destructor; compiled code holds none.
//
// MXCSR and the x87 control word are neither saved nor changed: compiled code
// does not touch them.

#ifndef CALLGATE_RUNTIME_NATIVE_ACTIVATION_H_
#define CALLGATE_RUNTIME_NATIVE_ACTIVATION_H_

#if !defined(__x86_64__) || !defined(__linux__)
#error "the native engine runs on x86-64 Linux only"
#endif

#include <cstdint>

#include "runtime/native/abi.h"

namespace callgate::native {

// Where callgate_unwind goes.
struct Activation {
  uint64_t stack_pointer = 0;
};

struct EnterResult {
  int64_t fuel;
  uint64_t stopped;  // 1 after callgate_unwind; `fuel` means nothing then
};

extern "C" {

// Calls entry(context, fuel, code, args), on the stack that ends at `stack_top`
// (a multiple of 16) or, if that is null, on the current one. The chain of
// frame pointers that the callee sees ends here.
EnterResult callgate_enter(Activation* activation, EntryTrampoline entry,
                           void* context, int64_t fuel, const void* code,
                           const RawValue* args, void* stack_top);

// Makes the activation's callgate_enter return. The activation must be live,
// and any entered after it must have ended.
[[noreturn]] void callgate_unwind(Activation* activation);

// Builtin::kTryCall.
uint32_t callgate_try_call(void* context, int64_t fuel, const void* code,
                           const RawValue* args, void* callee_context,
                           EntryTrampoline entry);

// Makes the handler's callgate_try_call return 1. The caller has taken the
// handler out of StoreContext::handler and has set StoreContext::fuel.
[[noreturn]] void callgate_throw_to(ExceptionHandler* handler);

}  // extern "C"

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_ACTIVATION_H_
