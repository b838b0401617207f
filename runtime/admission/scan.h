// The first look at bytes from a tenant, and the only code of the daemon that
// touches them unguarded: whatever parses, validates or compiles a module sees
// only what this scan let through.
//
// One forward pass without recursion. Time is proportional to the bytes, and
// memory to the limits: nothing is allocated because the module says so before
// a limit has allowed it. It holds a module to the binary format, to the index
// spaces and to the limits, and types constant expressions, the start function
// and element segments. Operand types inside function bodies are the
// validator's work, so an admitted module can still be invalid.
//
// Scan is a pure function: any thread, no state. The result owns its data.

#ifndef CALLGATE_RUNTIME_ADMISSION_SCAN_H_
#define CALLGATE_RUNTIME_ADMISSION_SCAN_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "runtime/admission/features.h"
#include "runtime/admission/module_limits.h"
#include "runtime/admission/refusal.h"
#include "runtime/extern_type.h"

namespace callgate::admission {

// What the bytes say they are. Later stages are compared with it.
struct ModuleSummary {
  std::vector<ImportType> imports;  // in the module's order
  std::vector<ExportType> exports;  // in the module's order

  // Whole index spaces: the imported ones come first.
  std::vector<TableType> tables;
  std::vector<MemoryType> memories;

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

// Exactly one of the two is set.
struct ScanResult {
  std::optional<ModuleSummary> summary;
  std::optional<Refusal> refusal;

  // Primitive reads made, and bytes looked at beyond those: the scan's cost in
  // a unit that does not depend on the machine. At most kStepsPerByte * bytes +
  // kStepsBase.
  uint64_t steps = 0;

  bool admitted() const { return summary.has_value(); }
};

inline constexpr uint64_t kStepsPerByte = 4;
inline constexpr uint64_t kStepsBase = 64;

ScanResult Scan(absl::Span<const uint8_t> bytes, const ModuleLimits& limits,
                const Features& features);

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_SCAN_H_
