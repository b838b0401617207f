// What a module is, as far as its bytes say without being run: imports, exports
// and sizes.

#ifndef CALLGATE_RUNTIME_ADMISSION_MODULE_SUMMARY_H_
#define CALLGATE_RUNTIME_ADMISSION_MODULE_SUMMARY_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/extern_type.h"

namespace callgate::admission {

// Later stages are compared with it. Owns its data.
struct ModuleSummary {
  std::vector<ImportType> imports;  // in the module's order
  std::vector<ExportType> exports;  // in the module's order

  // Whole index spaces: the imported ones come first.
  std::vector<TableType> tables;
  std::vector<MemoryType> memories;

  // Each function type, and which of them each function has.
  std::vector<FuncType> function_types;
  std::vector<uint32_t> functions;

  uint64_t types = 0;
  uint64_t imported_functions = 0;
  uint64_t own_functions = 0;
  uint64_t imported_tables = 0;
  uint64_t imported_memories = 0;
  uint64_t imported_globals = 0;
  uint64_t own_globals = 0;
  uint64_t imported_tags = 0;
  uint64_t own_tags = 0;
  uint64_t data_segments = 0;
  uint64_t element_segments = 0;
  uint64_t element_segment_items = 0;
  // In the function index space; imported functions count.
  std::optional<uint32_t> start_function;

  uint64_t bytes = 0;
  uint64_t code_bytes = 0;            // all function bodies
  uint64_t largest_body_bytes = 0;    // the largest of them
  uint64_t data_bytes = 0;            // contents of all data segments
  uint64_t custom_section_bytes = 0;  // names and contents
  uint64_t locals_total = 0;          // parameters not counted
  uint64_t most_locals = 0;           // of one function
  uint64_t deepest_nesting = 0;
  uint64_t most_br_table_targets = 0;
  uint64_t longest_name_bytes = 0;
};

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_MODULE_SUMMARY_H_
