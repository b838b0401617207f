#include "runtime/admission/module_limits.h"

namespace callgate::admission {
namespace {

constexpr LimitName kLimits[] = {
    {"bytes", &ModuleLimits::bytes, "size of the whole module"},
    {"functions", &ModuleLimits::functions, "functions, imported and own"},
    {"imports", &ModuleLimits::imports, "imports of every kind"},
    {"exports", &ModuleLimits::exports, "exports of every kind"},
    {"types", &ModuleLimits::types, "function types"},
    {"locals_per_function", &ModuleLimits::locals_per_function,
     "locals of one function, parameters not counted"},
    {"locals_total", &ModuleLimits::locals_total,
     "locals of all functions together"},
    {"params_per_function", &ModuleLimits::params_per_function,
     "parameters of one function type"},
    {"results_per_function", &ModuleLimits::results_per_function,
     "results of one function type"},
    {"nesting_depth", &ModuleLimits::nesting_depth,
     "blocks open at once inside a function"},
    {"br_table_targets", &ModuleLimits::br_table_targets,
     "targets of one br_table, the default not counted"},
    {"function_body_bytes", &ModuleLimits::function_body_bytes,
     "size of one function's code"},
    {"memories", &ModuleLimits::memories, "memories, imported and own"},
    {"memory_pages_initial", &ModuleLimits::memory_pages_initial,
     "64 KiB pages that one memory starts with"},
    {"tables", &ModuleLimits::tables, "tables, imported and own"},
    {"table_elements_initial", &ModuleLimits::table_elements_initial,
     "elements that one table starts with"},
    {"globals", &ModuleLimits::globals, "globals, imported and own"},
    {"data_segments", &ModuleLimits::data_segments, "data segments"},
    {"element_segments", &ModuleLimits::element_segments, "element segments"},
    {"element_segment_items_total", &ModuleLimits::element_segment_items_total,
     "items of all element segments together"},
    {"custom_section_bytes", &ModuleLimits::custom_section_bytes,
     "size of all custom sections together"},
    {"name_bytes", &ModuleLimits::name_bytes,
     "length of one import, export or custom section name"},
};

// A member without a row would be a limit that nobody can set.
static_assert(sizeof(kLimits) / sizeof(kLimits[0]) * sizeof(uint64_t) ==
                  sizeof(ModuleLimits),
              "every member of ModuleLimits needs its row in kLimits");

}  // namespace

absl::Span<const LimitName> AllLimits() { return kLimits; }

const LimitName* FindLimit(absl::string_view name) {
  for (const LimitName& limit : kLimits) {
    if (limit.name == name) return &limit;
  }
  return nullptr;
}

}  // namespace callgate::admission
