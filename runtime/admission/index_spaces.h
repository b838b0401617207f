// What a module has declared so far: the things that later parts of its binary
// refer to by number. Every vector is as long as a limit has allowed.

#ifndef CALLGATE_RUNTIME_ADMISSION_INDEX_SPACES_H_
#define CALLGATE_RUNTIME_ADMISSION_INDEX_SPACES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/extern_type.h"
#include "runtime/value.h"

namespace callgate::admission {

// The imported ones come first in each.
struct IndexSpaces {
  std::vector<FuncType> types;
  std::vector<uint32_t> functions;  // by index into types
  std::vector<TableType> tables;
  std::vector<MemoryType> memories;
  std::vector<GlobalType> globals;
  std::vector<uint32_t> tags;  // by index into types

  uint64_t imported_functions = 0;
  uint64_t imported_tables = 0;
  uint64_t imported_memories = 0;
  uint64_t imported_globals = 0;
  uint64_t imported_tags = 0;

  uint64_t element_segments = 0;
  // What the DataCount section announced, if there is one: code may name data
  // segments only then.
  std::optional<uint32_t> announced_data_segments;

  uint64_t own_functions() const {
    return functions.size() - imported_functions;
  }
  uint64_t SizeOf(ExternKind kind) const;
  // `index` is below SizeOf(kind).
  ExternType TypeOf(ExternKind kind, uint32_t index) const;
};

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_INDEX_SPACES_H_
