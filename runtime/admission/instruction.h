// What follows each opcode, and which proposal it came with.
//
// Immediates only: operand and result types are the validator's business.

#ifndef CALLGATE_RUNTIME_ADMISSION_INSTRUCTION_H_
#define CALLGATE_RUNTIME_ADMISSION_INSTRUCTION_H_

#include <cstdint>

#include "runtime/admission/features.h"

namespace callgate::admission {

// What the scan has to read, and do, after the opcode.
enum class Form : uint8_t {
  kPlain,  // nothing

  // Structure. A block type follows block, loop, if and try.
  kBlock,
  kIf,
  kElse,
  kEnd,
  kTry,
  kCatch,  // tag index
  kCatchAll,
  kDelegate,  // label
  kRethrow,   // label, of a catch

  kLabel,
  kLabelTable,
  kFunction,      // function index
  kFunctionRef,   // function index
  kCallIndirect,  // type index, table index
  kSelectTypes,
  kLocal,
  kGlobal,
  kTag,
  kTable,
  kTwoTables,  // to, from
  kTableInit,  // element segment, table
  kElement,    // element segment
  kMemory,
  kTwoMemories,  // to, from
  kMemoryInit,   // data segment, memory
  kData,         // data segment
  kRefType,

  // Alignment and offset; `detail` is the natural alignment's exponent.
  kLoadStore,
  kAtomic,         // the alignment must be the natural one
  kLoadStoreLane,  // and then a lane, of 16 >> detail
  kLane,           // `detail` is the number of lanes
  kShuffle,        // sixteen lanes of 32
  kReservedZero,   // a zero byte

  kI32,
  kI64,
  kFourBytes,
  kEightBytes,
  kSixteenBytes,
};

struct Instruction {
  // kUnknown where there is no such opcode; the form then means nothing, and
  // likewise for every proposal that the scan cannot read.
  Proposal proposal = Proposal::kUnknown;
  Form form = Form::kPlain;
  uint8_t detail = 0;
};

// Bytes that a second number follows.
constexpr bool IsPrefix(uint8_t opcode) {
  return opcode >= 0xfb && opcode <= 0xfe;
}

// `opcode` is not a prefix.
Instruction InstructionOf(uint8_t opcode);

// `prefix` is one.
Instruction InstructionOf(uint8_t prefix, uint32_t opcode);

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_INSTRUCTION_H_
