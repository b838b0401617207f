// The second line of defence: faults of compiled code become traps.
//
// Compiled code checks its bounds and its stack, so no fault should happen in
// it. If one does all the same, it ends the guest's activation, provided that
// the faulting instruction is the Store's own compiled code and the address
// lies where only a guest can get: its stack's guard page or a memory's own
// reserve. Every other fault goes to whoever handled it before, or ends the
// process: a bug of ours is not made to look like a guest's.
//
// The handler asks the innermost FaultScope of its thread. Faults are
// synchronous and the scope's Store is that thread's, so while the interrupted
// instruction is compiled code, nothing is being changed that the scope looks
// at, and no lock is needed.

#ifndef CALLGATE_RUNTIME_NATIVE_TRAP_SIGNAL_H_
#define CALLGATE_RUNTIME_NATIVE_TRAP_SIGNAL_H_

#include <cstddef>
#include <cstdint>

#include "runtime/native/activation.h"
#include "runtime/trap.h"

namespace callgate::native {

// What the handler noted about a fault that became a trap.
struct Fault {
  bool happened = false;
  TrapCode code = TrapCode::kMemoryOutOfBounds;
  uintptr_t pc = 0;
  uintptr_t frame = 0;  // the frame pointer then
};

// One per live activation, innermost first. A plain struct on the embedder's
// side of the stack switch.
struct FaultScope {
  FaultScope* outer = nullptr;
  Activation* activation = nullptr;
  // All three are called in a signal handler.
  const void* owner = nullptr;
  bool (*is_code)(const void* owner, uintptr_t pc) = nullptr;
  bool (*is_memory)(const void* owner, uintptr_t address) = nullptr;
  uintptr_t guard_begin = 0;
  uintptr_t guard_end = 0;
  // Room for the return addresses that were on the stack, newest first, which
  // the unwinding would otherwise lose.
  Fault fault;
  static constexpr size_t kReturnsMax = 64;
  uintptr_t stack_low = 0;
  uintptr_t stack_top = 0;
  size_t returns = 0;
  uintptr_t return_addresses[kReturnsMax];
};

// Installs the handlers, once in a process, and gives the calling thread a
// stack for them unless it has one. Cheap after the first time on a thread.
// False when the system refuses.
bool PrepareThreadForFaults();

// Between the two the scope is the thread's innermost one.
void PushFaultScope(FaultScope& scope);
void PopFaultScope(FaultScope& scope);

// Makes `scopes` the thread's chain, innermost first, and returns what it had:
// for whoever moves activations from one thread to another.
FaultScope* ExchangeFaultScopes(FaultScope* scopes);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_TRAP_SIGNAL_H_
