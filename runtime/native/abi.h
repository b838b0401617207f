// The contract between compiled guest code and the runtime that runs it.
//
// The compiler (a separate program) writes code that reads and writes these
// structures at fixed offsets and calls these functions; the runtime fills the
// structures in. Both include this header and nothing of each other. A change
// of anything here changes kAbiVersion, which is part of the code cache's key.
//
// Calling convention of guest functions: the platform's C convention with
//   (context, fuel, parameters...) -> {fuel, result}   when fuel is metered
//   (context, parameters...) -> result                 when it is not
// `context` is the InstanceContext of the callee, or the HostContext of a host
// function. At most one result travels in a register; two or more are left in
// StoreContext::values, sixteen bytes each, and nothing but the fuel is
// returned. v128 is <2 x i64>. A funcref is a FuncRecord pointer, null for
// ref.null; an externref is a 64-bit handle, kNullRef for null.
//
// Every function keeps a frame pointer. The chain of frames of an activation
// ends at a saved frame pointer of 0.

#ifndef CALLGATE_RUNTIME_NATIVE_ABI_H_
#define CALLGATE_RUNTIME_NATIVE_ABI_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/value.h"

namespace callgate::native {

inline constexpr uint32_t kAbiVersion = 3;

// Stop codes that compiled code passes to Builtin::kTrap are TrapCode's values
// (runtime/trap.h).

// Frames of up to this size need no check of their own: the stack limit that
// the runtime sets leaves this much beneath it, and room for host functions
// beneath that. A function with a larger frame compares with its frame size.
inline constexpr uint64_t kFrameSlack = 64 << 10;

// Compiled code looks at its fuel, or without metering at the interrupt, where
// a function begins, at loops, and wherever a way through a function has this
// many operators (of those that cost fuel) without one of these. So each frame
// that is live when a guest should end executes at most this many more.
inline constexpr uint64_t kOperatorsBetweenLooks = 256;

// Parameters that a tag may have.
inline constexpr uint32_t kTagParamsMax = 16;

struct StoreContext;
struct FuncRecord;

// What an exception is thrown with. Its address is its identity.
struct Tag {
  uint32_t type_id = 0;
  uint32_t params = 0;
};

// Saved by Builtin::kTryCall, newest first. Laid out by the assembly.
struct ExceptionHandler {
  ExceptionHandler* outer = nullptr;
  uint64_t stack_pointer = 0;
};

// One per Store; the Store's thread alone touches it, except `stack_limit`.
struct StoreContext {
  // A frame whose address is below this calls Builtin::kCheckStack. All ones
  // asks a running guest to call it at the next chance, which is how another
  // thread interrupts it.
  std::atomic<uint64_t> stack_limit{0};
  // Fuel left of the running slice, while it is not in a register: at calls of
  // host functions and of the builtins that say so.
  int64_t fuel = 0;
  // Results of a call with two or more of them, and of every call through an
  // entry trampoline. Room for as many as any linked function type has.
  RawValue* values = nullptr;
  // A tail call in progress, between the return of the caller's body and the
  // call of the callee: null when there is none.
  const void* tail_code = nullptr;
  void* tail_context = nullptr;
  const void* tail_entry = nullptr;  // the entry trampoline of its type
  // Its arguments. Room as in `values`.
  RawValue* tail_values = nullptr;
  // The innermost try; null when the activation has none.
  ExceptionHandler* handler = nullptr;
  // The exception in flight.
  const Tag* exception_tag = nullptr;
  RawValue exception_values[kTagParamsMax];
};

// Both kinds of context begin with this.
struct ContextHeader {
  StoreContext* store = nullptr;
  const void* const* builtins = nullptr;  // kBuiltinCount of them
};

// A host function, bound. Compiled thunks `t<type>` have the convention above;
// they store the arguments into an array of RawValue (room for the greater of
// parameters and results; narrow values zero-extended), the fuel into
// StoreContext::fuel, call `enter`, and take the results from the array's
// beginning and the fuel from StoreContext::fuel. `frame` is the thunk's frame
// address. A failing host function does not return from `enter`.
struct HostContext {
  ContextHeader header;
  void (*enter)(HostContext* context, const void* frame,
                RawValue* values) = nullptr;
  void* owner = nullptr;
  uint32_t binding = 0;
  uint32_t func = 0;
};

// A function as a value: what tables hold and references point to. Stays where
// it is for the Store's life; `code` changes only while no activation is live.
struct FuncRecord {
  const void* code = nullptr;
  void* context = nullptr;
  // Where a tail call goes: the function without the loop that runs the tail
  // calls it ends with.
  const void* tail_code = nullptr;
  uint32_t type_id = 0;  // unique per function type in the process
  uint32_t func = 0;     // the backend's number of it
};

// How an instance reaches a function that it imports.
struct FuncImport {
  const void* code = nullptr;
  void* context = nullptr;
  const void* tail_code = nullptr;
};

// `base` never changes. At least kMemoryReserve bytes from `base` on are this
// memory's own address space, so that an access that is checked but speculated
// beyond the check reaches nothing else.
struct MemoryDef {
  uint8_t* base = nullptr;
  uint64_t bytes = 0;
};

// What a 32-bit memory reserves: any address plus any offset plus an access.
inline constexpr uint64_t kMemoryReserve = (uint64_t{8} << 30) + (64 << 10);

// Elements are FuncRecord pointers or externref handles.
struct TableDef {
  uint64_t* elements = nullptr;
  uint64_t size = 0;
};

// An instance's context: this header, then arrays at ContextLayout's offsets.
struct InstanceContext {
  ContextHeader header;
  // The process-wide id of each of the module's types.
  const uint32_t* type_ids = nullptr;
  void* instance = nullptr;  // the runtime's own
};

// Where things are in an InstanceContext, by the module's counts.
struct ContextLayout {
  ContextLayout(uint32_t func_imports, uint32_t memories, uint32_t tables,
                uint32_t globals, uint32_t tags) {
    uint64_t at = sizeof(InstanceContext);
    imports = at;
    at += uint64_t{func_imports} * sizeof(FuncImport);
    memory_pointers = at;
    at += uint64_t{memories} * sizeof(MemoryDef*);
    table_pointers = at;
    at += uint64_t{tables} * sizeof(TableDef*);
    tag_pointers = at;
    at += uint64_t{tags} * sizeof(Tag*);
    global_pointers = at;
    at += uint64_t{globals} * sizeof(RawValue*);
    at = (at + 15) / 16 * 16;
    global_cells = at;
    at += uint64_t{globals} * sizeof(RawValue);
    size = at;
  }

  uint64_t imports;          // FuncImport[]
  uint64_t memory_pointers;  // MemoryDef*[], imported ones first
  uint64_t table_pointers;   // TableDef*[]
  uint64_t tag_pointers;     // Tag*[]
  uint64_t global_pointers;  // RawValue*[], used for imported globals
  uint64_t global_cells;     // RawValue[], used for the module's own; by index
  uint64_t size;
};

// Functions of the runtime that compiled code calls through
// ContextHeader::builtins, with the C convention. `context` is always the
// caller's. Those marked * take the fuel from StoreContext::fuel and leave it
// there. Every one of them may end the activation instead of returning.
enum class Builtin : uint32_t {
  // [[noreturn]] (context, u32 code, u64 module_offset, i64 fuel)
  kTrap,
  // (context, i64 fuel, u64 frame) The frame is below stack_limit: ends with
  // kCallStackExhausted, or looks at the interrupt and returns.
  kCheckStack,
  // i64 (context, i64 fuel) Fuel is below zero: a new slice, or the end.
  kRefuel,
  // i64 (context, u32 memory, u64 delta_pages)* -> pages before, or -1 (as
  // 64 bits for both kinds of memory)
  kMemoryGrow,
  // (context, u32 memory, u64 address, u32 value, u64 length)*
  kMemoryFill,
  // (context, u32 to_memory, u32 from_memory, u64 to, u64 from, u64 length)*
  kMemoryCopy,
  // (context, u32 memory, u32 segment, u64 to, u64 from, u64 length)*
  kMemoryInit,
  // (context, u32 segment)
  kDataDrop,
  // i64 (context, u32 table, u64 value, u64 delta)* -> size before, or -1
  kTableGrow,
  // (context, u32 table, u64 index, u64 value, u64 length)*
  kTableFill,
  // (context, u32 to_table, u32 from_table, u64 to, u64 from, u64 length)*
  kTableCopy,
  // (context, u32 table, u32 segment, u64 to, u64 from, u64 length)*
  kTableInit,
  // (context, u32 segment)*
  kElemDrop,
  // FuncRecord* (context, u32 function index)
  kRefFunc,
  // [[noreturn]] (context, i64 fuel) Tag and values are in the StoreContext:
  // goes to StoreContext::handler, or ends the activation without one.
  kThrow,
  // u32 (context, i64 fuel, code, args, callee_context, entry) Assembly.
  // Calls entry(callee_context, fuel, code, args) with a handler in place.
  // 0: returned; its results are in `values`. 1: an exception is in flight.
  // Both: the fuel is in StoreContext::fuel, which kThrow has set.
  kTryCall,
  kCount,
};
inline constexpr size_t kBuiltinCount = static_cast<size_t>(Builtin::kCount);

// A probe on one function of a module. The loader sends the function's calls to
// a stub that puts the ProbeContext's address into r10 and goes on at
// `p<type>`, which calls `enter`, then `code` with the same arguments, then
// `leave`. For functions with a body symbol, the body is what is probed, so
// that StoreContext::tail_code says at `leave` whether the function ends with a
// tail call. `leave` is not called when the activation ends in between, nor
// when an exception goes through.
//
// `context` is the callee's; `frame` is the wrapper's frame address. `args` is
// as a host function gets it. Both take the fuel from StoreContext::fuel and
// leave it there, and both may end the activation instead of returning.
struct ProbeContext {
  const void* code = nullptr;
  void (*enter)(ProbeContext* probe, void* context, const void* frame,
                const RawValue* args) = nullptr;
  void (*leave)(ProbeContext* probe, void* context,
                const void* frame) = nullptr;
  uint32_t number = 0;  // the runtime's
};

// An entry trampoline, `e<type>` in the object: calls `code`, a function of
// that type, with arguments from `args` and leaves the results in
// StoreContext::values. Without metering, fuel is passed and returned as it is.
using EntryTrampoline = int64_t (*)(void* context, int64_t fuel,
                                    const void* code, const RawValue* args);

// Names of symbols in the object, N and T being decimal indices:
//   f<N>   function N of the module's function index space
//   b<N>   its body without the loop that runs tail calls, for functions that
//          contain tail calls; the others have none
//   e<T>   entry trampoline of type T
//   t<T>   host thunk of type T
//   p<T>   probe wrapper of type T
// Undefined symbols that an object may need: memcpy, memmove, memset.

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_ABI_H_
