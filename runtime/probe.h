// Probes: being told when chosen functions inside a guest are entered and left.
//
// A hook says with HookOptions::probes which functions of its Store it wants
// to see, whether an export, a table or another function leads to them. The
// code is not compiled again for it: calls of the chosen functions are led
// through a probe when the code is loaded, and all other calls stay as they
// are. Which way a function is reached makes no difference: from its own
// module, itself included, through a table or a funcref, from another instance,
// as a start function, or from the embedder. Imported functions are probed
// where they are defined; calls of host functions are transitions instead.
//
// Order and balance:
//   * Probes are told apart from the four transitions and change nothing about
//     them. Those of an embedder's call come between its two transitions.
//   * Every entry that was not refused is followed by exactly one exit; they
//     nest.
//   * A function that ends with a tail call is left before the callee is
//     entered, and before its CallingHost where that is a host function. So
//     tail recursion of any length holds at most one call open.
//   * When the guest is stopped (trap, refusal, budget, exit), all calls open
//     in the activation that ends are left, newest first, before that
//     activation's ReturningFromWasm. Their number is bounded by the stack that
//     the guest may use.
//   * When an exception is caught, the calls that it went through are left,
//     newest first, before the catching function goes on.
//
// The name of a function is what the name section or an export says, which is
// the guest's word. Not told: results, and addresses of code.

#ifndef CALLGATE_RUNTIME_PROBE_H_
#define CALLGATE_RUNTIME_PROBE_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "runtime/host_function_spec.h"
#include "runtime/trap.h"
#include "runtime/value.h"

namespace callgate {

// A function that is probed. Stays until the Store's hook is set or cleared.
struct ProbedFunction {
  absl::string_view module;  // the Instance's name
  // As Frame::func_name: the name section's, else an export's, else empty.
  absl::string_view name;
  uint32_t func_index = 0;
  const FuncType* type = nullptr;
  // Dense per Store, from 0: what a hook indexes its own tables with.
  uint32_t probe = 0;
};

// The guest function that made a call.
struct CallerFrame {
  uint32_t func_index = kNoIndex;  // kNoIndex: the embedder called
  // As Frame::func_name. Valid until the hook returns.
  absl::string_view func_name;
  absl::string_view module_name;
};

// Views are valid until the hook returns.
struct FunctionEntry {
  const ProbedFunction& function;
  absl::Span<const RawValue> args;
  // Probed calls open in the Store, this one included.
  uint32_t depth;
  // Who called it, or made way for it by a tail call in another's place: then
  // it is that other one's caller.
  absl::FunctionRef<CallerFrame()> caller;
  // Of the Store: Fuel::used, and bytes of all memories and tables.
  uint64_t fuel_used;
  uint64_t store_bytes;
};

// What the hook says of an entry.
struct EntryAnswer {
  // NOLINTNEXTLINE(google-explicit-constructor): null proceeds.
  EntryAnswer(std::nullptr_t) {}
  // NOLINTNEXTLINE(google-explicit-constructor): an error refuses.
  EntryAnswer(ErrorRef why) : error(std::move(why)) {}

  ErrorRef error;
  // How long the function waits before it runs.
  absl::Duration delay;
};

enum class FunctionEnding : uint8_t {
  kReturn,
  kTailCall,   // another function goes on in its place
  kException,  // an exception went through it and was caught further out
  kTrap,       // the guest was stopped: the rest as Ending has it
  kHostError,
  kRefusal,
  kExit,
};
absl::string_view FunctionEndingName(FunctionEnding ending);

struct FunctionExit {
  const ProbedFunction& function;
  // As it was at the entry.
  uint32_t depth = 0;
  FunctionEnding ending = FunctionEnding::kReturn;
  // What stopped the guest; null with the first three endings.
  const Trap* trap = nullptr;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_PROBE_H_
