#include "runtime/admission/body_scan.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

namespace callgate::admission {

void BodyScan::Scan(ByteReader& body, uint64_t function_index) {
  open_.clear();
  ReadLocals(body, function_index);
  while (body.ok()) {
    if (ReadInstruction(body)) {
      // A function that goes on after its end would be read to here by one
      // engine and to the stated size by another.
      body.ExpectEnd();
      return;
    }
  }
}

void BodyScan::ReadLocals(ByteReader& in, uint64_t function_index) {
  const uint64_t start = in.offset();
  const uint32_t groups = in.Count("the number of local groups", 2);
  uint64_t declared =
      0;  // cannot wrap: fewer than 2^32 groups, each below 2^32
  for (uint32_t i = 0; i < groups && in.ok(); ++i) {
    declared += in.U32("a number of locals");
    in.ValueType("the type of a local");
  }
  if (!in.ok()) return;
  const uint64_t params =
      spaces_.types[spaces_.functions[function_index]].params.size();
  locals_ = params + declared;
  if (locals_ > std::numeric_limits<uint32_t>::max()) {
    in.Malformed(start,
                 absl::StrCat(locals_, " locals are more than 2^32 - 1"));
    return;
  }
  if (!in.CheckLimit(&ModuleLimits::locals_per_function, declared, start,
                     "$1 has $0 locals")) {
    return;
  }
  summary_.locals_total += declared;
  summary_.most_locals = std::max(summary_.most_locals, declared);
  in.CheckLimit(&ModuleLimits::locals_total, summary_.locals_total, start,
                "the module has $0 locals up to $1");
}

bool BodyScan::ReadInstruction(ByteReader& in) {
  const uint64_t offset = in.offset();
  const uint8_t opcode = in.Byte("an opcode");
  if (!in.ok()) return false;
  Instruction instruction;
  if (!IsPrefix(opcode)) {
    instruction = InstructionOf(opcode);
    // The common case is not worth a call, nor the text.
    if (instruction.proposal != Proposal::kMvp &&
        !in.features().Has(instruction.proposal)) {
      in.Require(instruction.proposal, offset,
                 absl::StrCat("opcode ", HexByte(opcode)));
      return false;
    }
  } else {
    const uint32_t second = in.U32("the rest of an opcode");
    if (!in.ok()) return false;
    instruction = InstructionOf(opcode, second);
    if (!in.features().Has(instruction.proposal)) {
      in.Require(
          instruction.proposal, offset,
          absl::StrCat("opcode ", HexByte(opcode), " ", HexByte(second)));
      return false;
    }
  }

  switch (instruction.form) {
    case Form::kPlain:
      return false;
    case Form::kBlock:
    case Form::kIf:
    case Form::kElse:
    case Form::kEnd:
    case Form::kTry:
    case Form::kCatch:
    case Form::kCatchAll:
    case Form::kDelegate:
    case Form::kRethrow:
      return ReadStructure(in, instruction.form, offset);
    default:
      ReadImmediates(in, instruction, offset);
      return false;
  }
}

bool BodyScan::ReadStructure(ByteReader& in, Form form, uint64_t offset) {
  switch (form) {
    case Form::kBlock:
      OpenBlock(in, Open::kBlock, offset);
      return false;
    case Form::kIf:
      OpenBlock(in, Open::kIf, offset);
      return false;
    case Form::kTry:
      OpenBlock(in, Open::kTry, offset);
      return false;
    case Form::kElse:
      if (open_.empty() || open_.back() != Open::kIf) {
        in.Malformed(offset, "else without an if that is open");
        return false;
      }
      open_.back() = Open::kElse;
      return false;
    case Form::kCatch:
    case Form::kCatchAll:
      if (open_.empty() ||
          (open_.back() != Open::kTry && open_.back() != Open::kCatch)) {
        in.Malformed(offset, "catch without a try that is open");
        return false;
      }
      if (form == Form::kCatchAll) {
        open_.back() = Open::kCatchAll;
        return false;
      }
      open_.back() = Open::kCatch;
      ReadTagIndex(in);
      return false;
    case Form::kDelegate:
      if (open_.empty() || open_.back() != Open::kTry) {
        in.Malformed(offset, "delegate without a try that is open");
        return false;
      }
      // It ends the try, and its label counts from outside of it.
      open_.pop_back();
      ReadLabel(in);
      return false;
    case Form::kRethrow: {
      const uint32_t label = in.U32("a label");
      if (!in.ok()) return false;
      const Open* target =
          label < open_.size() ? &open_[open_.size() - 1 - label] : nullptr;
      if (target == nullptr ||
          (*target != Open::kCatch && *target != Open::kCatchAll)) {
        in.Malformed(offset,
                     absl::StrCat("rethrow names label ", label,
                                  ", which is not a catch that is open"));
      }
      return false;
    }
    case Form::kEnd:
      if (open_.empty()) return true;
      open_.pop_back();
      return false;
    default:
      return false;
  }
}

void BodyScan::ReadImmediates(ByteReader& in, Instruction instruction,
                              uint64_t offset) {
  switch (instruction.form) {
    case Form::kLabel:
      ReadLabel(in);
      return;
    case Form::kLabelTable:
      ReadLabelTable(in);
      return;
    case Form::kFunction:
    case Form::kFunctionRef:
      in.CheckIndex(in.U32("a function index"), spaces_.functions.size(),
                    "function", offset);
      return;
    case Form::kCallIndirect:
      ReadCallIndirect(in);
      return;
    case Form::kSelectTypes:
      ReadSelectTypes(in);
      return;
    case Form::kLocal: {
      const uint32_t index = in.U32("a local index");
      if (in.ok() && index >= locals_) {
        in.Malformed(offset,
                     absl::StrCat("there is no local ", index,
                                  ": the function has ", locals_, " in all"));
      }
      return;
    }
    case Form::kGlobal:
      in.CheckIndex(in.U32("a global index"), spaces_.globals.size(), "global",
                    offset);
      return;
    case Form::kTag:
      ReadTagIndex(in);
      return;
    case Form::kTable:
      ReadTableIndex(in);
      return;
    case Form::kTwoTables:
      ReadTableIndex(in);
      ReadTableIndex(in);
      return;
    case Form::kTableInit:
      ReadElementIndex(in);
      ReadTableIndex(in);
      return;
    case Form::kElement:
      ReadElementIndex(in);
      return;
    case Form::kMemory:
      ReadMemoryIndex(in);
      return;
    case Form::kTwoMemories:
      ReadMemoryIndex(in);
      ReadMemoryIndex(in);
      return;
    case Form::kMemoryInit:
      ReadDataIndex(in);
      ReadMemoryIndex(in);
      return;
    case Form::kData:
      ReadDataIndex(in);
      return;
    case Form::kRefType:
      in.ReferenceType("the type of a null reference");
      return;
    case Form::kLoadStore:
    case Form::kAtomic:
      ReadMemoryAccess(in, instruction.form, instruction.detail);
      return;
    case Form::kLoadStoreLane:
      ReadMemoryAccess(in, instruction.form, instruction.detail);
      ReadLane(in, static_cast<uint8_t>(16 >> instruction.detail));
      return;
    case Form::kLane:
      ReadLane(in, instruction.detail);
      return;
    case Form::kShuffle:
      for (int i = 0; i < 16; ++i) ReadLane(in, 32);
      return;
    case Form::kReservedZero:
      if (in.Byte("a zero byte") != 0) {
        in.Malformed(offset, "a reserved byte is not zero");
      }
      return;
    case Form::kI32:
      in.S32("an i32 constant");
      return;
    case Form::kI64:
      in.S64("an i64 constant");
      return;
    case Form::kFourBytes:
      in.Skip(4, "an f32 constant");
      return;
    case Form::kEightBytes:
      in.Skip(8, "an f64 constant");
      return;
    case Form::kSixteenBytes:
      in.Skip(16, "a v128 constant");
      return;
    default:
      return;
  }
}

void BodyScan::OpenBlock(ByteReader& in, Open kind, uint64_t offset) {
  const uint64_t depth = open_.size() + 1;
  if (!in.CheckLimit(&ModuleLimits::nesting_depth, depth, offset,
                     "$1 opens $0 blocks inside each other")) {
    return;
  }
  summary_.deepest_nesting = std::max(summary_.deepest_nesting, depth);
  open_.push_back(kind);
  ReadBlockType(in);
}

// 0x40, a value type, or a type index as a signed number that is not negative;
// the first two are negative numbers of one byte, which keeps them apart.
void BodyScan::ReadBlockType(ByteReader& in) {
  const uint64_t offset = in.offset();
  ByteReader ahead = in;
  const uint8_t first = ahead.Byte("a block type");
  if (!in.ok()) return;
  if (first == 0x40) {
    in.Skip(1, "a block type");
    return;
  }
  if ((first & 0xc0) == 0x40) {
    in.ValueType("a block type");
    return;
  }
  const int64_t index = in.S33("a block type");
  if (!in.ok()) return;
  if (index < 0) {
    in.Malformed(offset, "a block type is a negative number of several bytes");
    return;
  }
  if (!in.Require(Proposal::kMultiValue, offset,
                  "a type index as block type")) {
    return;
  }
  in.CheckIndex(static_cast<uint64_t>(index), spaces_.types.size(), "type",
                offset);
}

void BodyScan::ReadLabel(ByteReader& in) {
  const uint64_t offset = in.offset();
  const uint32_t label = in.U32("a label");
  if (in.ok() && label > open_.size()) {
    in.Malformed(offset, absl::StrCat("there is no label ", label, ": only ",
                                      open_.size() + 1, " are in reach"));
  }
}

void BodyScan::ReadLabelTable(ByteReader& in) {
  const uint64_t offset = in.offset();
  const uint32_t targets = in.Count("the number of br_table targets");
  if (!in.CheckLimit(&ModuleLimits::br_table_targets, targets, offset,
                     "$1 has a br_table with $0 targets")) {
    return;
  }
  summary_.most_br_table_targets =
      std::max(summary_.most_br_table_targets, uint64_t{targets});
  for (uint32_t i = 0; i < targets && in.ok(); ++i) ReadLabel(in);
  ReadLabel(in);
}

void BodyScan::ReadTableIndex(ByteReader& in) {
  const uint64_t offset = in.offset();
  in.CheckIndex(in.U32("a table index"), spaces_.tables.size(), "table",
                offset);
}

void BodyScan::ReadMemoryIndex(ByteReader& in) {
  const uint64_t offset = in.offset();
  // Without multi-memory a reserved zero byte, for which no padding is legal.
  const uint32_t index = in.features().multi_memory ? in.U32("a memory index")
                                                    : in.Byte("a memory index");
  if (!in.features().multi_memory && index != 0) {
    in.Malformed(offset, "the byte for the memory is not zero");
    return;
  }
  in.CheckIndex(index, spaces_.memories.size(), "memory", offset);
}

void BodyScan::ReadDataIndex(ByteReader& in) {
  const uint64_t offset = in.offset();
  const uint32_t index = in.U32("a data segment index");
  if (!in.ok()) return;
  if (!spaces_.announced_data_segments.has_value()) {
    in.Malformed(offset,
                 absl::StrCat("data segment ", index,
                              " is named, but the module has no data count "
                              "section"));
    return;
  }
  in.CheckIndex(index, *spaces_.announced_data_segments, "data segment",
                offset);
}

void BodyScan::ReadElementIndex(ByteReader& in) {
  const uint64_t offset = in.offset();
  in.CheckIndex(in.U32("an element segment index"), spaces_.element_segments,
                "element segment", offset);
}

void BodyScan::ReadTagIndex(ByteReader& in) {
  const uint64_t offset = in.offset();
  in.CheckIndex(in.U32("a tag index"), spaces_.tags.size(), "tag", offset);
}

void BodyScan::ReadCallIndirect(ByteReader& in) {
  const uint64_t type_offset = in.offset();
  if (!in.CheckIndex(in.U32("a type index"), spaces_.types.size(), "type",
                     type_offset)) {
    return;
  }
  const uint64_t table_offset = in.offset();
  // Before reference-types a reserved zero byte.
  const uint32_t table = in.features().reference_types
                             ? in.U32("a table index")
                             : in.Byte("a table index");
  if (!in.CheckIndex(table, spaces_.tables.size(), "table", table_offset)) {
    return;
  }
  if (spaces_.tables[table].element != ValType::kFuncRef) {
    in.Malformed(table_offset,
                 absl::StrCat("table ", table,
                              " does not hold functions, so no call can go "
                              "through it"));
  }
}

void BodyScan::ReadSelectTypes(ByteReader& in) {
  const uint64_t offset = in.offset();
  const uint32_t types = in.Count("the number of types of a select");
  if (!in.ok()) return;
  if (types != 1) {
    in.Malformed(offset,
                 absl::StrCat("a select names ", types, " types, not one"));
    return;
  }
  in.ValueType("the type of a select");
}

void BodyScan::ReadMemoryAccess(ByteReader& in, Form form,
                                uint8_t natural_alignment) {
  const uint64_t offset = in.offset();
  uint32_t alignment = in.U32("an alignment");
  uint32_t memory = 0;
  // Bit 6 says that a memory index follows.
  if (in.ok() && alignment >= 0x40 && alignment < 0x80) {
    if (!in.Require(Proposal::kMultiMemory, offset,
                    "a memory index in a memory access")) {
      return;
    }
    alignment -= 0x40;
    memory = in.U32("a memory index");
  }
  if (!in.ok()) return;
  if (alignment > natural_alignment ||
      (form == Form::kAtomic && alignment != natural_alignment)) {
    in.Malformed(offset,
                 absl::StrCat("a memory access is aligned to 2^", alignment,
                              " bytes, its natural "
                              "alignment is 2^",
                              natural_alignment));
    return;
  }
  if (!in.CheckIndex(memory, spaces_.memories.size(), "memory", offset)) return;
  if (spaces_.memories[memory].is64) {
    in.U64("a memory offset");
  } else {
    in.U32("a memory offset");
  }
}

void BodyScan::ReadLane(ByteReader& in, uint8_t lanes) {
  const uint64_t offset = in.offset();
  const uint8_t lane = in.Byte("a lane");
  if (in.ok() && lane >= lanes) {
    in.Malformed(offset,
                 absl::StrCat("there is no lane ", lane, " among ", lanes));
  }
}

}  // namespace callgate::admission
