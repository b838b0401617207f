// Rewrites a decoded module so that this engine sees what wabt's interpreter
// does by itself: growth of memories and tables, bulk operations, and the drop
// of an element segment. And so that tail calls are right.
//
// Each such instruction becomes a call of a host function that the instance
// gets at the end of its function list, which asks the limiter, charges fuel
// for the size, looks at the clock, and then does the work. The instruction
// stream keeps its length, so branch targets stay right: a call takes eight
// bytes, and the four left over by twelve-byte instructions are skipped by the
// host function (`skip`).
//
// A tail call has to drop whatever its function has on the operand stack
// beneath the arguments. wabt counts that after its validator has forgotten
// these operands, so it drops too few of them (never too many), and from then
// on every function further out takes the rest for its own locals and operands.
// So each tail call becomes a jump to the end of the stream, where a host
// function drops what is left and the tail call itself follows. It is not known
// any more which calls of imports with a return behind them were tail calls;
// they are all treated so, since it changes nothing for the others.

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
    kFitStack,    // a: how many operands stay
  };
  Kind kind = Kind::kMemoryGrow;
  uint32_t a = 0;
  uint32_t b = 0;
  // Bytes of instruction left over behind the call.
  uint32_t skip = 0;
  // As the instruction has it on the operand stack.
  wabt::interp::FuncType type{{}, {}};
};

struct Instrumentation {
  // In the order in which their host functions follow the module's own
  // functions.
  std::vector<WatchedOp> ops;
  // An instance needs the table of its imported functions.
  bool imports_in_table = false;
};

// Rewrites `desc`. `calls_of_imports` has one element for each call of an
// imported function in the module, in its order: whether it is a tail call.
Instrumentation Instrument(wabt::interp::ModuleDesc& desc,
                           const std::vector<bool>& calls_of_imports);

}  // namespace callgate::reference

#endif  // CALLGATE_RUNTIME_REFERENCE_INSTRUMENT_H_
