// What a Store may use, and what one call into it may use.
//
// Limits are totals of the Store, not of each memory or table, and they are
// checked before anything is allocated. Reaching a growth limit is the guest's
// business (memory.grow answers -1) unless the Store asks for a trap.

#ifndef CALLGATE_RUNTIME_LIMITS_H_
#define CALLGATE_RUNTIME_LIMITS_H_

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace callgate {

struct Limits {
  // Memories plus tables (at kTableElementBytes an element) of the Store.
  uint64_t bytes_total = 64 << 20;
  static constexpr uint64_t kTableElementBytes = 16;
  uint64_t table_elements_total = 10'000;
  uint32_t instances = 100;
  // Live activations: embedder into guest and guest into host, nested.
  uint32_t activation_depth = 64;
  // Wasm frames of one activation. The reference engine's: the native engine
  // bounds the bytes of its stack instead.
  uint32_t call_depth = 1'500;
  // What guests may use of the stack that they run on, nested activations
  // together; host functions have room beyond it. The native engine's.
  uint64_t stack_bytes = 1 << 20;
  uint32_t extern_refs = 10'000;
  // Bytes that host functions move between guest and host in one call.
  uint64_t host_bytes_per_call = 1 << 30;
  // A growth over the limit traps instead of answering -1.
  bool trap_on_growth_refused = false;
};

// What one call may use. An absent limit is no limit.
struct CallOptions {
  std::optional<absl::Duration> wall;
  // Processor time: what the thread spends on this call and all that it calls,
  // host functions and hooks too. Time in which the Store waits, is parked or
  // has made room for others does not count. Looked at where `wall` is, and
  // read seldom: a call ends at the latest a millisecond or so of its own work
  // after it is spent, or when its host function has returned.
  // absl::InfiniteDuration() measures it (CallUsage::cpu) and ends nothing.
  std::optional<absl::Duration> cpu;
  // A ceiling for the call and all that it calls: see fuel.h.
  //
  // The native engine counts as Wasmtime does, the same at both levels of its
  // code: 1 for every function entered, 0 for nop, drop, block, loop,
  // unreachable, return, else and end, 1 for every other operator, and on top
  // of that 1 for each byte of memory.copy, memory.fill and memory.init and 1
  // for each element of table.copy, table.fill, table.init and a table.grow
  // that is allowed, before any of the work is done; what is longer than the
  // memory or table traps without. memory.grow costs 1 whatever its size.
  // Instantiation pays for active segments as for memory.init and table.init,
  // all before the first, and for the start function.
  //
  // Fuel is looked at where a function begins, at loops, before bulk work,
  // growth and host functions, and after at most kOperatorsBetweenLooks (256)
  // operators of one function besides. The overrun bound: a call executes no
  // more operators beyond its fuel than that many for each Wasm frame that was
  // live when the fuel ended. They are not counted (what was used is the
  // budget), and the call ends with kOutOfFuel even where they trapped or
  // returned.
  //
  // The reference engine counts executed instructions of its own, bulk
  // operations 1 more for each 64 bytes or elements, and never overruns.
  std::optional<uint64_t> fuel;
};

// What one call did use, its nested calls included.
struct CallUsage {
  uint64_t fuel = 0;
  uint64_t host_calls = 0;
  uint64_t host_bytes = 0;
  absl::Duration wall;
  // Where CallOptions::cpu is set; else zero.
  absl::Duration cpu;
};

// Asked before a Store's memory or table grows (and when one is made, with
// `current` 0), after the Store's own Limits have allowed it. Bytes for
// memories, elements for tables. Called on the Store's thread.
class ResourceLimiter {
 public:
  virtual ~ResourceLimiter() = default;
  virtual bool MemoryGrowing(uint64_t current, uint64_t desired) = 0;
  virtual bool TableGrowing(uint64_t current, uint64_t desired) = 0;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_LIMITS_H_
