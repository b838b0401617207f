#include "runtime/admission/declarations.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/admission/constant_expression.h"

namespace callgate::admission {
namespace {

constexpr uint64_t kMaxPages32 = uint64_t{1} << 16;
constexpr uint64_t kMaxPages64 = uint64_t{1} << 48;

// The bits of the byte before a table's or memory's size.
enum LimitsFlag : uint8_t {
  kHasMax = 1,
  kShared = 2,
  kIs64 = 4,
  kHasPageSize = 8,
};

absl::string_view NounOf(ExternKind kind) {
  return kind == ExternKind::kFunc ? "function" : ExternKindName(kind);
}

absl::string_view ReadName(ByteReader& in, absl::string_view what,
                           ModuleSummary& summary) {
  const absl::string_view name = in.Name(what);
  // Copied into the summary, most of them.
  in.CountSteps(name.size());
  summary.longest_name_bytes =
      std::max(summary.longest_name_bytes, uint64_t{name.size()});
  return name;
}

uint32_t ReadTypeIndex(ByteReader& in, const IndexSpaces& spaces) {
  const uint64_t offset = in.offset();
  const uint32_t type = in.U32("a type index");
  in.CheckIndex(type, spaces.types.size(), "type", offset);
  return type;
}

ExternKind ReadExternKind(ByteReader& in) {
  const uint64_t offset = in.offset();
  const uint8_t kind = in.Byte("what kind it is of");
  switch (kind) {
    case 0:
      return ExternKind::kFunc;
    case 1:
      return ExternKind::kTable;
    case 2:
      return ExternKind::kMemory;
    case 3:
      return ExternKind::kGlobal;
    case 4:
      in.Require(Proposal::kLegacyExceptions, offset, "a tag");
      return ExternKind::kTag;
    default:
      in.Malformed(offset, absl::StrCat("is of the kind ", kind,
                                        ", where only 0 to 3 have a meaning"));
      return ExternKind::kFunc;
  }
}

std::vector<ValType> ReadValueTypes(ByteReader& in,
                                    uint64_t ModuleLimits::*limit,
                                    absl::string_view sentence) {
  const uint64_t start = in.offset();
  const uint32_t count = in.Count("the number of types");
  std::vector<ValType> types;
  if (!in.CheckLimit(limit, count, start, sentence)) return types;
  types.reserve(count);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    types.push_back(in.ValueType("a parameter or result"));
  }
  return types;
}

// The Add functions each read one declaration and add it to its index space,
// which they hold to its limit: imports and the spaces' own sections share
// them.

void AddFunction(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t offset = in.offset();
  const uint32_t type = ReadTypeIndex(in, spaces);
  if (!in.CheckLimit(&ModuleLimits::functions, spaces.functions.size() + 1,
                     offset, "the module has $0 functions")) {
    return;
  }
  spaces.functions.push_back(type);
}

void AddTable(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t start = in.offset();
  TableType table;
  ByteReader ahead = in;
  if (ahead.Byte("a table's type") == 0x40) {
    in.Require(Proposal::kFunctionReferences, start,
               "a table with an initial value");
    return;
  }
  table.element = in.ReferenceType("the type of a table's elements");
  const uint64_t flags_offset = in.offset();
  const uint8_t flags = in.Byte("a table's limits");
  if (!in.ok()) return;
  if ((flags & kIs64) != 0) {
    // Even where memory64 is on: only its memories are understood here.
    in.Require(Proposal::kUnknown, flags_offset, "a table with 64-bit indexes");
    return;
  }
  if ((flags & ~kHasMax) != 0) {
    in.Malformed(flags_offset,
                 absl::StrCat("a table's limits begin with ", HexByte(flags)));
    return;
  }
  const uint64_t offset = in.offset();
  table.size.min = in.U32("a table's size");
  if ((flags & kHasMax) != 0) {
    table.size.max = in.U32("a table's largest size");
    if (in.ok() && *table.size.max < table.size.min) {
      in.Malformed(offset, absl::StrCat("a table of ", table.size.min,
                                        " elements may have ", *table.size.max,
                                        " at most"));
    }
  }
  if (in.ok() && !spaces.tables.empty() &&
      !in.Require(Proposal::kReferenceTypes, start, "a second table")) {
    return;
  }
  in.CheckLimit(&ModuleLimits::tables, spaces.tables.size() + 1, start,
                "the module has $0 tables");
  in.CheckLimit(&ModuleLimits::table_elements_initial, table.size.min, offset,
                "$1 starts with $0 elements");
  if (in.ok()) spaces.tables.push_back(table);
}

void CheckPages(ByteReader& in, uint64_t pages, bool is64, uint64_t offset) {
  const uint64_t most = is64 ? kMaxPages64 : kMaxPages32;
  if (in.ok() && pages > most) {
    in.Malformed(offset, absl::StrCat("a memory of ", pages,
                                      " pages is more than its addresses "
                                      "reach, which is ",
                                      most));
  }
}

void AddMemory(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t start = in.offset();
  const uint8_t flags = in.Byte("a memory's limits");
  if (!in.ok()) return;
  if (flags > (kHasMax | kShared | kIs64 | kHasPageSize)) {
    in.Malformed(start,
                 absl::StrCat("a memory's limits begin with ", HexByte(flags)));
    return;
  }
  if ((flags & kHasPageSize) != 0 &&
      !in.Require(Proposal::kCustomPageSizes, start, "a page size")) {
    return;
  }
  MemoryType memory;
  memory.shared = (flags & kShared) != 0;
  memory.is64 = (flags & kIs64) != 0;
  if (memory.shared &&
      !in.Require(Proposal::kThreads, start, "a shared memory")) {
    return;
  }
  if (memory.is64 &&
      !in.Require(Proposal::kMemory64, start, "a 64-bit memory")) {
    return;
  }
  if (memory.shared && (flags & kHasMax) == 0) {
    in.Malformed(start, "a shared memory has no largest size");
    return;
  }
  const auto read_pages = [&in, &memory](absl::string_view what) {
    return memory.is64 ? in.U64(what) : uint64_t{in.U32(what)};
  };
  const uint64_t offset = in.offset();
  memory.pages.min = read_pages("a memory's size");
  CheckPages(in, memory.pages.min, memory.is64, offset);
  if ((flags & kHasMax) != 0) {
    const uint64_t max_offset = in.offset();
    memory.pages.max = read_pages("a memory's largest size");
    CheckPages(in, *memory.pages.max, memory.is64, max_offset);
    if (in.ok() && *memory.pages.max < memory.pages.min) {
      in.Malformed(offset, absl::StrCat("a memory of ", memory.pages.min,
                                        " pages may have ", *memory.pages.max,
                                        " at most"));
    }
  }
  if (in.ok() && !spaces.memories.empty() &&
      !in.Require(Proposal::kMultiMemory, start, "a second memory")) {
    return;
  }
  in.CheckLimit(&ModuleLimits::memories, spaces.memories.size() + 1, start,
                "the module has $0 memories");
  in.CheckLimit(&ModuleLimits::memory_pages_initial, memory.pages.min, offset,
                "$1 starts with $0 pages of 64 KiB");
  if (in.ok()) spaces.memories.push_back(memory);
}

// Tags have no limit of their own: one takes two bytes of the module and four
// here.
void AddTag(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t offset = in.offset();
  const uint8_t attribute = in.Byte("a tag's attribute");
  if (in.ok() && attribute != 0) {
    in.Malformed(offset, absl::StrCat("has the attribute ", attribute,
                                      ", where only 0 has a meaning"));
    return;
  }
  const uint32_t type = ReadTypeIndex(in, spaces);
  if (!in.ok()) return;
  if (!spaces.types[type].results.empty()) {
    in.Malformed(offset, "has a type with results");
    return;
  }
  spaces.tags.push_back(type);
}

void AddGlobal(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t start = in.offset();
  GlobalType global;
  global.type = in.ValueType("a global's type");
  const uint64_t offset = in.offset();
  const uint8_t mutability = in.Byte("a global's mutability");
  if (in.ok() && mutability > 1) {
    in.Malformed(offset, absl::StrCat("has the mutability ", mutability,
                                      ", where only 0 and 1 have a meaning"));
  }
  global.is_mutable = mutability == 1;
  in.CheckLimit(&ModuleLimits::globals, spaces.globals.size() + 1, start,
                "the module has $0 globals");
  if (in.ok()) spaces.globals.push_back(global);
}

}  // namespace

void ReadTypes(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t start = in.offset();
  const uint32_t types = in.Count("the number of types", 3);
  if (!in.CheckLimit(&ModuleLimits::types, types, start,
                     "the module has $0 types")) {
    return;
  }
  spaces.types.reserve(types);
  for (uint32_t i = 0; i < types && in.ok(); ++i) {
    in.SetSubject("type", i);
    const uint64_t offset = in.offset();
    const uint8_t form = in.Byte("a type");
    if (!in.ok()) return;
    switch (form) {
      case 0x60:
        break;
      case 0x5f:
      case 0x5e:
      case 0x50:
      case 0x4f:
      case 0x4e:
        in.Require(Proposal::kGarbageCollection, offset, HexByte(form));
        return;
      case 0x5d:
        in.Require(Proposal::kStackSwitching, offset, HexByte(form));
        return;
      default:
        in.Malformed(offset, absl::StrCat("begins with ", HexByte(form),
                                          ", which is no form of type"));
        return;
    }
    FuncType type;
    type.params = ReadValueTypes(in, &ModuleLimits::params_per_function,
                                 "$1 has $0 parameters");
    const uint64_t results_offset = in.offset();
    type.results = ReadValueTypes(in, &ModuleLimits::results_per_function,
                                  "$1 has $0 results");
    if (type.results.size() > 1 &&
        !in.Require(Proposal::kMultiValue, results_offset,
                    "more than one result")) {
      return;
    }
    spaces.types.push_back(std::move(type));
  }
}

void ReadImports(ByteReader& in, IndexSpaces& spaces, ModuleSummary& summary) {
  const uint64_t start = in.offset();
  const uint32_t imports = in.Count("the number of imports", 4);
  if (!in.CheckLimit(&ModuleLimits::imports, imports, start,
                     "the module has $0 imports")) {
    return;
  }
  for (uint32_t i = 0; i < imports && in.ok(); ++i) {
    in.SetSubject("import", i);
    ImportType import;
    import.module = std::string(ReadName(in, "its module name", summary));
    import.name = std::string(ReadName(in, "its name", summary));
    const uint64_t offset = in.offset();
    const ExternKind kind = ReadExternKind(in);
    if (!in.ok()) return;
    const uint64_t index = spaces.SizeOf(kind);
    switch (kind) {
      case ExternKind::kFunc:
        AddFunction(in, spaces);
        break;
      case ExternKind::kTable:
        AddTable(in, spaces);
        break;
      case ExternKind::kMemory:
        AddMemory(in, spaces);
        break;
      case ExternKind::kGlobal:
        AddGlobal(in, spaces);
        break;
      case ExternKind::kTag:
        AddTag(in, spaces);
        break;
    }
    if (!in.ok()) return;
    import.type = spaces.TypeOf(kind, static_cast<uint32_t>(index));
    if (kind == ExternKind::kGlobal && import.type.global.is_mutable) {
      in.Require(Proposal::kMutableGlobals, offset, "a mutable global");
    }
    summary.imports.push_back(std::move(import));
  }
  spaces.imported_functions = spaces.functions.size();
  spaces.imported_tables = spaces.tables.size();
  spaces.imported_memories = spaces.memories.size();
  spaces.imported_globals = spaces.globals.size();
  spaces.imported_tags = spaces.tags.size();
}

void ReadFunctions(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t start = in.offset();
  const uint32_t functions = in.Count("the number of functions");
  if (!in.CheckLimit(&ModuleLimits::functions,
                     spaces.functions.size() + functions, start,
                     "the module has $0 functions")) {
    return;
  }
  spaces.functions.reserve(spaces.functions.size() + functions);
  for (uint32_t i = 0; i < functions && in.ok(); ++i) {
    in.SetSubject("function", spaces.functions.size());
    AddFunction(in, spaces);
  }
}

void ReadTables(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t start = in.offset();
  const uint32_t tables = in.Count("the number of tables", 3);
  if (!in.CheckLimit(&ModuleLimits::tables, spaces.tables.size() + tables,
                     start, "the module has $0 tables")) {
    return;
  }
  for (uint32_t i = 0; i < tables && in.ok(); ++i) {
    in.SetSubject("table", spaces.tables.size());
    AddTable(in, spaces);
  }
}

void ReadMemories(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t start = in.offset();
  const uint32_t memories = in.Count("the number of memories", 2);
  if (!in.CheckLimit(&ModuleLimits::memories, spaces.memories.size() + memories,
                     start, "the module has $0 memories")) {
    return;
  }
  for (uint32_t i = 0; i < memories && in.ok(); ++i) {
    in.SetSubject("memory", spaces.memories.size());
    AddMemory(in, spaces);
  }
}

void ReadTags(ByteReader& in, IndexSpaces& spaces) {
  const uint32_t tags = in.Count("the number of tags", 2);
  for (uint32_t i = 0; i < tags && in.ok(); ++i) {
    in.SetSubject("tag", spaces.tags.size());
    AddTag(in, spaces);
  }
}

void ReadGlobals(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t start = in.offset();
  const uint32_t globals = in.Count("the number of globals", 3);
  if (!in.CheckLimit(&ModuleLimits::globals, spaces.globals.size() + globals,
                     start, "the module has $0 globals")) {
    return;
  }
  for (uint32_t i = 0; i < globals && in.ok(); ++i) {
    in.SetSubject("global", spaces.globals.size());
    AddGlobal(in, spaces);
    if (!in.ok()) return;
    ScanConstantExpression(in, spaces, spaces.globals.back().type);
  }
}

void ReadExports(ByteReader& in, const IndexSpaces& spaces,
                 ModuleSummary& summary) {
  const uint64_t start = in.offset();
  const uint32_t exports = in.Count("the number of exports", 3);
  if (!in.CheckLimit(&ModuleLimits::exports, exports, start,
                     "the module has $0 exports")) {
    return;
  }
  // Abseil seeds its hash for each process, so names cannot be made to collide.
  absl::flat_hash_set<absl::string_view> names;
  names.reserve(exports);
  for (uint32_t i = 0; i < exports && in.ok(); ++i) {
    in.SetSubject("export", i);
    const uint64_t name_offset = in.offset();
    const absl::string_view name = ReadName(in, "its name", summary);
    const uint64_t offset = in.offset();
    const ExternKind kind = ReadExternKind(in);
    const uint32_t index = in.U32("its index");
    if (!in.CheckIndex(index, spaces.SizeOf(kind), NounOf(kind), offset)) {
      return;
    }
    in.CountSteps(1 + name.size());
    if (!names.insert(name).second) {
      in.Malformed(name_offset, absl::StrCat("another export has the name \"",
                                             absl::CHexEscape(name), "\""));
      return;
    }
    ExportType entry;
    entry.name = std::string(name);
    entry.index = index;
    entry.type = spaces.TypeOf(kind, index);
    if (kind == ExternKind::kGlobal && entry.type.global.is_mutable) {
      in.Require(Proposal::kMutableGlobals, offset, "a mutable global");
    }
    summary.exports.push_back(std::move(entry));
  }
}

void ReadStart(ByteReader& in, const IndexSpaces& spaces,
               ModuleSummary& summary) {
  const uint64_t offset = in.offset();
  const uint32_t index = in.U32("a function index");
  if (!in.CheckIndex(index, spaces.functions.size(), "function", offset)) {
    return;
  }
  const FuncType& type = spaces.types[spaces.functions[index]];
  if (!type.params.empty() || !type.results.empty()) {
    in.Malformed(offset, absl::StrCat("function ", index, " has the type ",
                                      type.ToString(),
                                      ", a start function takes and returns "
                                      "nothing"));
    return;
  }
  summary.start_function = index;
}

}  // namespace callgate::admission
