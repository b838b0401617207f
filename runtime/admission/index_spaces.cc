#include "runtime/admission/index_spaces.h"

namespace callgate::admission {

uint64_t IndexSpaces::SizeOf(ExternKind kind) const {
  switch (kind) {
    case ExternKind::kFunc:
      return functions.size();
    case ExternKind::kTable:
      return tables.size();
    case ExternKind::kMemory:
      return memories.size();
    case ExternKind::kGlobal:
      return globals.size();
    case ExternKind::kTag:
      return tags.size();
  }
  return 0;
}

ExternType IndexSpaces::TypeOf(ExternKind kind, uint32_t index) const {
  ExternType type;
  type.kind = kind;
  switch (kind) {
    case ExternKind::kFunc:
      type.func = types[functions[index]];
      break;
    case ExternKind::kTable:
      type.table = tables[index];
      break;
    case ExternKind::kMemory:
      type.memory = memories[index];
      break;
    case ExternKind::kGlobal:
      type.global = globals[index];
      break;
    case ExternKind::kTag:
      type.func = types[tags[index]];
      break;
  }
  return type;
}

}  // namespace callgate::admission
