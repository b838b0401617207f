#include "runtime/admission/segments.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "runtime/admission/constant_expression.h"

namespace callgate::admission {
namespace {

// Eight shapes from three bits: not active (passive, or declared with the
// second bit), an explicit table or a kind, and items as expressions.
void ReadElementSegment(ByteReader& in, const IndexSpaces& spaces,
                        ModuleSummary& summary) {
  const uint64_t start = in.offset();
  const uint32_t flags = in.U32("its kind");
  if (!in.ok()) return;
  if (flags > 7) {
    in.Malformed(start, absl::StrCat("has the kind ", flags,
                                     ", where only 0 to 7 have a meaning"));
    return;
  }
  if (flags != 0 && !in.Require(Proposal::kBulkMemory, start,
                                "an element segment of another kind than 0")) {
    return;
  }
  const bool active = (flags & 1) == 0;
  const bool second_bit = (flags & 2) != 0;
  const bool expressions = (flags & 4) != 0;

  uint32_t table = 0;
  const uint64_t table_offset = in.offset();
  if (active) {
    if (second_bit) table = in.U32("a table index");
    if (!in.CheckIndex(table, spaces.tables.size(), "table", table_offset)) {
      return;
    }
    ScanConstantExpression(in, spaces, ValType::kI32);
  }

  ValType type = ValType::kFuncRef;
  if (!active || second_bit) {
    const uint64_t offset = in.offset();
    if (expressions) {
      type = in.ReferenceType("the type of its items");
    } else if (in.Byte("the kind of its items") != 0) {
      in.Malformed(offset,
                   "has items of an unknown kind: only 0, functions, "
                   "has a meaning");
    }
  }
  if (!in.ok()) return;
  if (active && spaces.tables[table].element != type) {
    in.Malformed(table_offset,
                 absl::StrCat("its items are of the type ", ValTypeName(type),
                              ", those of table ", table, " are ",
                              ValTypeName(spaces.tables[table].element)));
    return;
  }

  const uint64_t count_offset = in.offset();
  const uint32_t items = in.Count("the number of items");
  summary.element_segment_items += items;
  in.CheckLimit(&ModuleLimits::element_segment_items_total,
                summary.element_segment_items, count_offset,
                "the module has $0 items in its element segments");
  for (uint32_t i = 0; i < items && in.ok(); ++i) {
    if (expressions) {
      ScanConstantExpression(in, spaces, type);
      continue;
    }
    const uint64_t offset = in.offset();
    in.CheckIndex(in.U32("a function index"), spaces.functions.size(),
                  "function", offset);
  }
}

}  // namespace

void ReadElements(ByteReader& in, IndexSpaces& spaces, ModuleSummary& summary) {
  const uint64_t start = in.offset();
  const uint32_t segments = in.Count("the number of element segments", 3);
  if (!in.CheckLimit(&ModuleLimits::element_segments, segments, start,
                     "the module has $0 element segments")) {
    return;
  }
  for (uint32_t i = 0; i < segments && in.ok(); ++i) {
    in.SetSubject("element segment", i);
    ReadElementSegment(in, spaces, summary);
  }
  spaces.element_segments = segments;
}

void ReadDataCount(ByteReader& in, IndexSpaces& spaces) {
  const uint64_t offset = in.offset();
  const uint32_t segments = in.U32("the number of data segments");
  if (!in.CheckLimit(&ModuleLimits::data_segments, segments, offset,
                     "the module announces $0 data segments")) {
    return;
  }
  spaces.announced_data_segments = segments;
}

void ReadData(ByteReader& in, const IndexSpaces& spaces,
              ModuleSummary& summary) {
  const uint64_t start = in.offset();
  const uint32_t segments = in.Count("the number of data segments", 2);
  if (!in.CheckLimit(&ModuleLimits::data_segments, segments, start,
                     "the module has $0 data segments")) {
    return;
  }
  for (uint32_t i = 0; i < segments && in.ok(); ++i) {
    in.SetSubject("data segment", i);
    const uint64_t offset = in.offset();
    const uint32_t kind = in.U32("its kind");
    if (!in.ok()) return;
    if (kind > 2) {
      in.Malformed(offset, absl::StrCat("has the kind ", kind,
                                        ", where only 0, 1 and 2 have a "
                                        "meaning"));
      return;
    }
    if (kind != 0 && !in.Require(Proposal::kBulkMemory, offset,
                                 "a data segment of another kind than 0")) {
      return;
    }
    if (kind != 1) {
      const uint64_t memory_offset = in.offset();
      const uint32_t memory = kind == 2 ? in.U32("a memory index") : 0;
      if (!in.CheckIndex(memory, spaces.memories.size(), "memory",
                         memory_offset)) {
        return;
      }
      ScanConstantExpression(
          in, spaces,
          spaces.memories[memory].is64 ? ValType::kI64 : ValType::kI32);
    }
    const uint32_t size = in.U32("the size of its contents");
    in.Skip(size, "its contents");
    summary.data_bytes += size;
  }
  summary.data_segments = segments;
}

}  // namespace callgate::admission
