// Rewrites a decoded module so that this engine sees what wabt's interpreter
// does by itself: growth of memories and tables, bulk operations, and the drop
// of an element segment.
//
// Each such instruction becomes a call of a host function that the instance
// gets at the end of its function list, which asks the limiter, charges fuel
// for the size, looks at the clock, and then does the work. The instruction
// stream keeps its length, so branch targets stay right: a call takes eight
// bytes, and the four left over by twelve-byte instructions are skipped by the
// host function (`skip`).

#ifndef CALLGATE_RUNTIME_REFERENCE_INSTRUMENT_H_
#define CALLGATE_RUNTIME_REFERENCE_INSTRUMENT_H_

#include <cstdint>
#include <vector>

#include "wabt/interp/interp.h"

namespace callgate::reference {

// What replaces an instruction.
struct WatchedOp {
  enum class Kind : uint8_t {
    kMemoryGrow,  // a: memory
    kMemoryFill,  // a: memory
    kMemoryCopy,  // a: destination, b: source
    kMemoryInit,  // a: memory, b: segment
    kTableGrow,   // a: table
    kTableFill,   // a: table
    kTableCopy,   // a: destination, b: source
    kTableInit,   // a: table, b: segment
    kElemDrop,    // a: segment
  };
  Kind kind = Kind::kMemoryGrow;
  uint32_t a = 0;
  uint32_t b = 0;
  // Bytes of instruction left over behind the call.
  uint32_t skip = 0;
  // As the instruction has it on the operand stack.
  wabt::interp::FuncType type{{}, {}};
};

// Rewrites `desc` and returns the operations in the order in which their host
// functions follow the module's own functions.
std::vector<WatchedOp> WatchOperations(wabt::interp::ModuleDesc& desc);

}  // namespace callgate::reference

#endif  // CALLGATE_RUNTIME_REFERENCE_INSTRUMENT_H_
