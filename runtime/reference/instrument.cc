#include "runtime/reference/instrument.h"

#include <cstring>
#include <map>
#include <optional>
#include <tuple>

#include "runtime/check.h"
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
  std::vector<uint32_t> params;  // how many each function has
};

Spaces SpacesOf(const ModuleDesc& desc) {
  Spaces spaces;
  for (const auto& import : desc.imports) {
    switch (import.type.type->kind) {
      case wabt::ExternalKind::Func:
        ++spaces.functions;
        spaces.params.push_back(static_cast<uint32_t>(
            wabt::cast<wabt::interp::FuncType>(import.type.type.get())
                ->params.size()));
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
  for (const auto& func : desc.funcs) {
    spaces.params.push_back(static_cast<uint32_t>(func.type.params.size()));
  }
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
    case Kind::kFitStack:
      break;
  }
  return Types({}, {});
}

// The number of a type that is the imported function's.
uint32_t TypeOfImport(const ModuleDesc& desc, uint32_t func) {
  for (const auto& import : desc.imports) {
    if (import.type.type->kind != wabt::ExternalKind::Func) continue;
    if (func-- > 0) continue;
    const auto* type =
        wabt::cast<wabt::interp::FuncType>(import.type.type.get());
    for (uint32_t i = 0; i < desc.func_types.size(); ++i) {
      const wabt::interp::FuncType& one = desc.func_types[i];
      if (one.params == type->params && one.results == type->results) return i;
    }
  }
  CALLGATE_CHECK(false, "an import has a type of the module");
  return 0;
}

void WriteU32(wabt::interp::Buffer& data, uint32_t offset, uint32_t value) {
  std::memcpy(data.data() + offset, &value, sizeof(value));
}

}  // namespace

Instrumentation Instrument(ModuleDesc& desc,
                           const std::vector<bool>& calls_of_imports) {
  const Spaces spaces = SpacesOf(desc);
  const uint32_t imported =
      spaces.functions - static_cast<uint32_t>(desc.funcs.size());
  Instrumentation made;
  std::vector<WatchedOp>& ops = made.ops;
  std::map<std::tuple<Kind, uint32_t, uint32_t>, uint32_t> known;
  // The function that stands for the operation.
  const auto watch = [&](WatchedOp op) {
    const auto [place, added] =
        known.emplace(std::make_tuple(op.kind, op.a, op.b),
                      static_cast<uint32_t>(ops.size()));
    if (added) ops.push_back(std::move(op));
    return spaces.functions + place->second;
  };

  Istream& stream = desc.istream;
  // Emitting moves the data.
  const auto write = [&stream](Istream::Offset at, uint32_t value) {
    WriteU32(stream.*Get(wabt_private::IstreamData()), at, value);
  };
  const auto jump_to_the_end = [&](Istream::Offset from, uint32_t keep) {
    write(from, static_cast<uint32_t>(Opcode::Br));
    write(from + sizeof(uint32_t), stream.end());
    WatchedOp op;
    op.kind = Kind::kFitStack;
    op.a = keep;
    stream.Emit(Opcode::InterpCallImport, watch(std::move(op)));
  };

  size_t calls = 0;
  const Istream::Offset end = stream.end();
  for (Istream::Offset offset = 0; offset < end;) {
    const Istream::Offset start = offset;
    const Instr instr = stream.Read(&offset);
    switch (instr.op) {
      case Opcode::InterpAdjustFrameForReturnCall: {
        // A jump follows, which wabt leaves open or closes wrongly where the
        // module imports functions: it confuses two ways of counting.
        const uint32_t func = instr.imm_u32;
        stream.Read(&offset);
        jump_to_the_end(start, spaces.params[func]);
        stream.Emit(Opcode::InterpAdjustFrameForReturnCall, func);
        stream.Emit(Opcode::Br, desc.funcs[func - imported].code_offset);
        continue;
      }
      case Opcode::ReturnCallIndirect: {
        const uint32_t type = instr.imm_u32x2.snd;
        const size_t params = desc.func_types[type].params.size();
        jump_to_the_end(start, static_cast<uint32_t>(params) + 1);
        stream.Emit(Opcode::ReturnCallIndirect, instr.imm_u32x2.fst, type);
        continue;
      }
      case Opcode::InterpCallImport: {
        CALLGATE_CHECK(calls < calls_of_imports.size(),
                       "the same bytes have the same calls");
        if (!calls_of_imports[calls++]) continue;
        const uint32_t func = instr.imm_u32;
        jump_to_the_end(start, spaces.params[func]);
        stream.Emit(Opcode::I32Const, func);
        stream.Emit(Opcode::ReturnCallIndirect,
                    static_cast<uint32_t>(spaces.elements.size()),
                    TypeOfImport(desc, func));
        made.imports_in_table = true;
        continue;
      }
      default:
        break;
    }
    const std::optional<Rewritten> rewritten = RewrittenBy(instr.op);
    if (!rewritten.has_value()) continue;
    WatchedOp op;
    op.kind = rewritten->kind;
    op.a = rewritten->two_operands ? instr.imm_u32x2.fst : instr.imm_u32;
    op.b = rewritten->two_operands ? instr.imm_u32x2.snd : 0;
    op.skip = rewritten->two_operands ? sizeof(uint32_t) : 0;
    op.type = TypeOf(op, spaces);
    write(start, static_cast<uint32_t>(Opcode::InterpCallImport));
    write(start + sizeof(uint32_t), watch(std::move(op)));
  }
  CALLGATE_CHECK(calls == calls_of_imports.size(),
                 "the same bytes have the same calls");
  return made;
}

}  // namespace callgate::reference
