#include "runtime/admission/instruction.h"

#include <array>
#include <cstddef>

namespace callgate::admission {
namespace {

template <size_t kSize>
using Table = std::array<Instruction, kSize>;

template <size_t kSize>
constexpr void Fill(Table<kSize>& table, size_t first, size_t last,
                    Instruction instruction) {
  for (size_t i = first; i <= last; ++i) table[i] = instruction;
}

constexpr Instruction LoadStore(Proposal proposal, uint8_t alignment) {
  return {proposal, Form::kLoadStore, alignment};
}

constexpr Table<256> MakeOneByteTable() {
  constexpr Proposal kMvp = Proposal::kMvp;
  constexpr Proposal kReferences = Proposal::kReferenceTypes;
  constexpr Proposal kExceptions = Proposal::kLegacyExceptions;
  Table<256> table{};

  Fill(table, 0x00, 0x01, {kMvp, Form::kPlain});  // unreachable, nop
  Fill(table, 0x02, 0x03, {kMvp, Form::kBlock});  // block, loop
  table[0x04] = {kMvp, Form::kIf};
  table[0x05] = {kMvp, Form::kElse};
  table[0x06] = {kExceptions, Form::kTry};
  table[0x07] = {kExceptions, Form::kCatch};
  table[0x08] = {kExceptions, Form::kTag};  // throw
  table[0x09] = {kExceptions, Form::kRethrow};
  table[0x0a] = {Proposal::kExceptionReferences};  // throw_ref
  table[0x0b] = {kMvp, Form::kEnd};
  Fill(table, 0x0c, 0x0d, {kMvp, Form::kLabel});  // br, br_if
  table[0x0e] = {kMvp, Form::kLabelTable};
  table[0x0f] = {kMvp, Form::kPlain};  // return
  table[0x10] = {kMvp, Form::kFunction};
  table[0x11] = {kMvp, Form::kCallIndirect};
  table[0x12] = {Proposal::kTailCall, Form::kFunction};
  table[0x13] = {Proposal::kTailCall, Form::kCallIndirect};
  Fill(table, 0x14, 0x15, {Proposal::kFunctionReferences});  // call_ref
  table[0x18] = {kExceptions, Form::kDelegate};
  table[0x19] = {kExceptions, Form::kCatchAll};
  Fill(table, 0x1a, 0x1b, {kMvp, Form::kPlain});  // drop, select
  table[0x1c] = {kReferences, Form::kSelectTypes};
  table[0x1f] = {Proposal::kExceptionReferences};  // try_table
  Fill(table, 0x20, 0x22, {kMvp, Form::kLocal});
  Fill(table, 0x23, 0x24, {kMvp, Form::kGlobal});
  Fill(table, 0x25, 0x26, {kReferences, Form::kTable});  // table.get, .set

  // Loads 28..35, stores 36..3e.
  constexpr uint8_t kAlignments[] = {2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1,
                                     2, 2, 2, 3, 2, 3, 0, 1, 0, 1, 2};
  for (size_t i = 0; i < sizeof(kAlignments); ++i) {
    table[0x28 + i] = LoadStore(kMvp, kAlignments[i]);
  }
  Fill(table, 0x3f, 0x40, {kMvp, Form::kMemory});  // memory.size, .grow

  table[0x41] = {kMvp, Form::kI32};
  table[0x42] = {kMvp, Form::kI64};
  table[0x43] = {kMvp, Form::kFourBytes};
  table[0x44] = {kMvp, Form::kEightBytes};
  Fill(table, 0x45, 0xbf, {kMvp, Form::kPlain});  // numeric
  Fill(table, 0xc0, 0xc4, {Proposal::kSignExtension, Form::kPlain});

  table[0xd0] = {kReferences, Form::kRefType};      // ref.null
  table[0xd1] = {kReferences, Form::kPlain};        // ref.is_null
  table[0xd2] = {kReferences, Form::kFunctionRef};  // ref.func
  table[0xd3] = {Proposal::kGarbageCollection};     // ref.eq
  Fill(table, 0xd4, 0xd6, {Proposal::kFunctionReferences});
  Fill(table, 0xe0, 0xe6, {Proposal::kStackSwitching});
  return table;
}

// 0xfc.
constexpr Table<0x17> MakeMiscTable() {
  constexpr Proposal kBulk = Proposal::kBulkMemory;
  constexpr Proposal kReferences = Proposal::kReferenceTypes;
  Table<0x17> table{};
  Fill(table, 0x00, 0x07, {Proposal::kSaturatingFloat, Form::kPlain});
  table[0x08] = {kBulk, Form::kMemoryInit};
  table[0x09] = {kBulk, Form::kData};         // data.drop
  table[0x0a] = {kBulk, Form::kTwoMemories};  // memory.copy
  table[0x0b] = {kBulk, Form::kMemory};       // memory.fill
  table[0x0c] = {kBulk, Form::kTableInit};
  table[0x0d] = {kBulk, Form::kElement};                 // elem.drop
  table[0x0e] = {kBulk, Form::kTwoTables};               // table.copy
  Fill(table, 0x0f, 0x11, {kReferences, Form::kTable});  // grow, size, fill
  table[0x12] = {Proposal::kMemoryControl};
  Fill(table, 0x13, 0x16, {Proposal::kWideArithmetic});
  return table;
}

// 0xfd.
constexpr Table<0x114> MakeVectorTable() {
  constexpr Proposal kSimd = Proposal::kSimd;
  Table<0x114> table{};
  // Whatever is not named below takes no immediate.
  Fill(table, 0x00, 0xff, {kSimd, Form::kPlain});
  Fill(table, 0x100, 0x113, {Proposal::kRelaxedSimd, Form::kPlain});

  table[0x00] = LoadStore(kSimd, 4);  // v128.load
  Fill(table, 0x01, 0x06, LoadStore(kSimd, 3));
  for (uint8_t i = 0; i < 4; ++i) {
    table[size_t{0x07} + i] = LoadStore(kSimd, i);               // loadN_splat
    table[size_t{0x54} + i] = {kSimd, Form::kLoadStoreLane, i};  // loadN_lane
    table[size_t{0x58} + i] = {kSimd, Form::kLoadStoreLane, i};  // storeN_lane
  }
  table[0x0b] = LoadStore(kSimd, 4);  // v128.store
  table[0x0c] = {kSimd, Form::kSixteenBytes};
  table[0x0d] = {kSimd, Form::kShuffle};
  Fill(table, 0x15, 0x17, {kSimd, Form::kLane, 16});
  Fill(table, 0x18, 0x1a, {kSimd, Form::kLane, 8});
  Fill(table, 0x1b, 0x1c, {kSimd, Form::kLane, 4});
  Fill(table, 0x1d, 0x1e, {kSimd, Form::kLane, 2});
  Fill(table, 0x1f, 0x20, {kSimd, Form::kLane, 4});
  Fill(table, 0x21, 0x22, {kSimd, Form::kLane, 2});
  table[0x5c] = LoadStore(kSimd, 2);  // v128.load32_zero
  table[0x5d] = LoadStore(kSimd, 3);  // v128.load64_zero

  // Numbers that the finished proposal left out.
  constexpr uint8_t kHoles[] = {0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2,
                                0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf,
                                0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee};
  for (const uint8_t hole : kHoles) table[hole] = Instruction{};
  return table;
}

// 0xfe.
constexpr Table<0x4f> MakeAtomicTable() {
  constexpr Proposal kThreads = Proposal::kThreads;
  Table<0x4f> table{};
  table[0x00] = {kThreads, Form::kAtomic, 2};     // memory.atomic.notify
  table[0x01] = {kThreads, Form::kAtomic, 2};     // memory.atomic.wait32
  table[0x02] = {kThreads, Form::kAtomic, 3};     // memory.atomic.wait64
  table[0x03] = {kThreads, Form::kReservedZero};  // atomic.fence
  // Load, store, add, sub, and, or, xor, xchg, cmpxchg; each for i32, i64,
  // i32 in 8 and 16 bits, i64 in 8, 16 and 32 bits.
  constexpr uint8_t kAlignments[] = {2, 3, 0, 1, 0, 1, 2};
  for (size_t i = 0x10; i < table.size(); ++i) {
    table[i] = {kThreads, Form::kAtomic,
                kAlignments[(i - 0x10) % sizeof(kAlignments)]};
  }
  return table;
}

constexpr Table<256> kOneByte = MakeOneByteTable();
constexpr Table<0x17> kMisc = MakeMiscTable();
constexpr Table<0x114> kVector = MakeVectorTable();
constexpr Table<0x4f> kAtomic = MakeAtomicTable();

template <size_t kSize>
Instruction LookUp(const Table<kSize>& table, uint32_t opcode) {
  return opcode < kSize ? table[opcode] : Instruction{};
}

}  // namespace

Instruction InstructionOf(uint8_t opcode) { return kOneByte[opcode]; }

Instruction InstructionOf(uint8_t prefix, uint32_t opcode) {
  switch (prefix) {
    case 0xfb: {
      Instruction instruction;
      // 0x80 and up are strings, the rest structs, arrays and casts.
      instruction.proposal = opcode < 0x80 ? Proposal::kGarbageCollection
                                           : Proposal::kStringReferences;
      return instruction;
    }
    case 0xfc:
      return LookUp(kMisc, opcode);
    case 0xfd:
      return LookUp(kVector, opcode);
    case 0xfe:
      return LookUp(kAtomic, opcode);
    default:
      return Instruction{};
  }
}

}  // namespace callgate::admission
