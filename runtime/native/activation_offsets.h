// Offsets that activation_x86_64.S uses, checked in activation.cc. Preprocessor
// constants, since the assembler reads them too.

#ifndef CALLGATE_RUNTIME_NATIVE_ACTIVATION_OFFSETS_H_
#define CALLGATE_RUNTIME_NATIVE_ACTIVATION_OFFSETS_H_

#define CALLGATE_ACTIVATION_RSP 0
#define CALLGATE_CONTEXT_STORE 0
#define CALLGATE_STORE_FUEL 8
#define CALLGATE_STORE_HANDLER 56
#define CALLGATE_HANDLER_OUTER 0
#define CALLGATE_HANDLER_RSP 8

#endif  // CALLGATE_RUNTIME_NATIVE_ACTIVATION_OFFSETS_H_
