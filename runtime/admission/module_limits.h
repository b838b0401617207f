// How large a module may be in each way that costs whoever parses, compiles or
// instantiates it.
//
// One table gives every limit its name, so that the policy file
// (budgets.module.<name>), --help and refusals cannot disagree.

#ifndef CALLGATE_RUNTIME_ADMISSION_MODULE_LIMITS_H_
#define CALLGATE_RUNTIME_ADMISSION_MODULE_LIMITS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace callgate::admission {

// The largest value that is admitted. Zero admits none. What can be imported
// (functions, memories, tables, globals) is counted with the imported ones.
struct ModuleLimits {
  uint64_t bytes = 8 * 1024 * 1024;
  uint64_t functions = 20000;
  uint64_t imports = 100;
  uint64_t exports = 1000;
  uint64_t types = 2000;
  uint64_t locals_per_function = 1000;  // parameters are not counted
  uint64_t locals_total = 200000;
  uint64_t params_per_function = 64;
  uint64_t results_per_function = 64;
  uint64_t nesting_depth = 4096;     // blocks open at once inside a function
  uint64_t br_table_targets = 8192;  // the default target is not counted
  uint64_t function_body_bytes = 1024 * 1024;
  uint64_t memories = 1;
  uint64_t memory_pages_initial = 1024;  // each memory; 64 KiB pages
  uint64_t tables = 1;
  uint64_t table_elements_initial = 10000;  // each table
  uint64_t globals = 1000;
  uint64_t data_segments = 10000;
  uint64_t element_segments = 1000;
  uint64_t element_segment_items_total = 100000;
  uint64_t custom_section_bytes = 8 * 1024 * 1024;  // all of them together
  uint64_t name_bytes = 256;  // import, export and custom section names
};

struct LimitName {
  // As the policy file spells it: "locals_total".
  absl::string_view name;
  uint64_t ModuleLimits::*member;
  // For --help: "locals of all functions together".
  absl::string_view meaning;
};

// Every limit once, in the order of the struct. Lives for ever.
absl::Span<const LimitName> AllLimits();

// Null if there is no limit of that name.
const LimitName* FindLimit(absl::string_view name);

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_MODULE_LIMITS_H_
