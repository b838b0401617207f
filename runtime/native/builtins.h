// The functions of abi.h's Builtin.

#ifndef CALLGATE_RUNTIME_NATIVE_BUILTINS_H_
#define CALLGATE_RUNTIME_NATIVE_BUILTINS_H_

namespace callgate::native {

// kBuiltinCount of them, in Builtin's order.
const void* const* BuiltinTable();

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_BUILTINS_H_
