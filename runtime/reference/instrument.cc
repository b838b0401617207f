#include "runtime/reference/instrument.h"

#include <cstring>
#include <map>
#include <optional>
#include <tuple>

#include "runtime/reference/wabt_private.h"
#include "wabt/cast.h"
#include "wabt/opcode.h"

namespace callgate::reference {
namespace {

using wabt::Opcode;
using wabt::interp::Instr;
using wabt::interp::Istream;
using wabt::interp::ModuleDesc;
using Kind = WatchedOp::Kind;

struct Rewritten {
  Kind kind;
  bool two_operands;
};

std::optional<Rewritten> RewrittenBy(Opcode op) {
  switch (op) {
    case Opcode::MemoryGrow:
      return Rewritten{Kind::kMemoryGrow, false};
    case Opcode::MemoryFill:
      return Rewritten{Kind::kMemoryFill, false};
    case Opcode::MemoryCopy:
      return Rewritten{Kind::kMemoryCopy, true};
    case Opcode::MemoryInit:
      return Rewritten{Kind::kMemoryInit, true};
    case Opcode::TableGrow:
      return Rewritten{Kind::kTableGrow, false};
    case Opcode::TableFill:
      return Rewritten{Kind::kTableFill, false};
    case Opcode::TableCopy:
      return Rewritten{Kind::kTableCopy, true};
    case Opcode::TableInit:
      return Rewritten{Kind::kTableInit, true};
    case Opcode::ElemDrop:
      return Rewritten{Kind::kElemDrop, false};
    default:
      return std::nullopt;
  }
}

// The types that the module's memories and tables have, imported ones first.
struct Spaces {
  std::vector<wabt::Type> addresses;  // of each memory
  std::vector<wabt::Type> elements;   // of each table
  uint32_t functions = 0;
};

Spaces SpacesOf(const ModuleDesc& desc) {
  Spaces spaces;
  for (const auto& import : desc.imports) {
    switch (import.type.type->kind) {
      case wabt::ExternalKind::Func:
        ++spaces.functions;
        break;
      case wabt::ExternalKind::Memory:
        spaces.addresses.push_back(
            wabt::cast<wabt::interp::MemoryType>(import.type.type.get())
                ->limits.IndexType());
        break;
      case wabt::ExternalKind::Table:
        spaces.elements.push_back(
            wabt::cast<wabt::interp::TableType>(import.type.type.get())
                ->element);
        break;
      default:
        break;
    }
  }
  for (const auto& memory : desc.memories) {
    spaces.addresses.push_back(memory.type.limits.IndexType());
  }
  for (const auto& table : desc.tables) {
    spaces.elements.push_back(table.type.element);
  }
  spaces.functions += static_cast<uint32_t>(desc.funcs.size());
  return spaces;
}

wabt::interp::FuncType TypeOf(const WatchedOp& op, const Spaces& spaces) {
  const wabt::Type i32 = wabt::Type::I32;
  using Types = wabt::interp::FuncType;
  switch (op.kind) {
    case Kind::kMemoryGrow:
      return Types({spaces.addresses[op.a]}, {spaces.addresses[op.a]});
    case Kind::kMemoryFill:
      return Types({spaces.addresses[op.a], i32, spaces.addresses[op.a]}, {});
    case Kind::kMemoryCopy:
      // wabt pops the length as it does the source address.
      return Types({spaces.addresses[op.a], spaces.addresses[op.b],
                    spaces.addresses[op.b]},
                   {});
    case Kind::kMemoryInit:
      return Types({spaces.addresses[op.a], i32, i32}, {});
    case Kind::kTableGrow:
      return Types({spaces.elements[op.a], i32}, {i32});
    case Kind::kTableFill:
      return Types({i32, spaces.elements[op.a], i32}, {});
    case Kind::kTableCopy:
    case Kind::kTableInit:
      return Types({i32, i32, i32}, {});
    case Kind::kElemDrop:
      break;
  }
  return Types({}, {});
}

void WriteU32(wabt::interp::Buffer& data, uint32_t offset, uint32_t value) {
  std::memcpy(data.data() + offset, &value, sizeof(value));
}

}  // namespace

std::vector<WatchedOp> WatchOperations(ModuleDesc& desc) {
  const Spaces spaces = SpacesOf(desc);
  std::vector<WatchedOp> ops;
  std::map<std::tuple<Kind, uint32_t, uint32_t>, uint32_t> known;

  wabt::interp::Buffer& data = desc.istream.*Get(wabt_private::IstreamData());
  Istream::Offset offset = 0;
  while (offset < desc.istream.end()) {
    const Istream::Offset start = offset;
    const Instr instr = desc.istream.Read(&offset);
    if (instr.op == Opcode::InterpAdjustFrameForReturnCall) {
      // wabt leaves the jump to a later function open, or closes it wrongly,
      // where the module imports functions: it confuses two ways of counting.
      const uint32_t imported =
          spaces.functions - static_cast<uint32_t>(desc.funcs.size());
      WriteU32(data, offset + sizeof(uint32_t),
               desc.funcs[instr.imm_u32 - imported].code_offset);
      continue;
    }
    const std::optional<Rewritten> rewritten = RewrittenBy(instr.op);
    if (!rewritten.has_value()) continue;
    WatchedOp op;
    op.kind = rewritten->kind;
    op.a = rewritten->two_operands ? instr.imm_u32x2.fst : instr.imm_u32;
    op.b = rewritten->two_operands ? instr.imm_u32x2.snd : 0;
    op.skip = rewritten->two_operands ? sizeof(uint32_t) : 0;
    op.type = TypeOf(op, spaces);
    const auto [place, added] =
        known.emplace(std::make_tuple(op.kind, op.a, op.b),
                      static_cast<uint32_t>(ops.size()));
    if (added) ops.push_back(std::move(op));
    WriteU32(data, start, static_cast<uint32_t>(Opcode::InterpCallImport));
    WriteU32(data, start + sizeof(uint32_t), spaces.functions + place->second);
  }
  return ops;
}

}  // namespace callgate::reference
