// Types of what a module imports and exports, as its binary states them.

#ifndef CALLGATE_RUNTIME_EXTERN_TYPE_H_
#define CALLGATE_RUNTIME_EXTERN_TYPE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "runtime/value.h"

namespace callgate {

inline constexpr uint64_t kWasmPageBytes = 65536;

enum class ExternKind : uint8_t { kFunc, kTable, kMemory, kGlobal, kTag };

// "func", "table", "memory", "global", "tag".
absl::string_view ExternKindName(ExternKind kind);

// In pages for memories, in elements for tables.
struct SizeRange {
  uint64_t min = 0;
  std::optional<uint64_t> max;
  friend bool operator==(const SizeRange& a, const SizeRange& b) {
    return a.min == b.min && a.max == b.max;
  }
};

struct TableType {
  ValType element = ValType::kFuncRef;
  SizeRange size;
};

struct MemoryType {
  SizeRange pages;
  bool shared = false;
  bool is64 = false;
};

struct GlobalType {
  ValType type = ValType::kI32;
  bool is_mutable = false;
};

// What stands behind a name. Only the member that `kind` names has a meaning.
struct ExternType {
  ExternKind kind = ExternKind::kFunc;
  FuncType func;
  TableType table;
  MemoryType memory;
  GlobalType global;

  // "func (i32) -> ()", "memory 1..4 pages", "global mut i64", "table 2..
  // funcref".
  std::string ToString() const;
};

struct ImportType {
  std::string module;
  std::string name;
  ExternType type;
};

// How messages write an import: module.name, or "module"."name" with escapes if
// one of them has characters that mislead.
std::string ImportText(absl::string_view module, absl::string_view name);

struct ExportType {
  std::string name;
  // In the index space of its kind.
  uint32_t index = 0;
  ExternType type;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_EXTERN_TYPE_H_
