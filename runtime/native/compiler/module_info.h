// What the compiler knows of a module after its first pass over the bytes,
// which validates; the second pass translates the function bodies by it.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_MODULE_INFO_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_MODULE_INFO_H_

#include <cstdint>
#include <vector>

#include "runtime/native/abi.h"
#include "runtime/value.h"

namespace callgate::native {

// One function body.
struct BodyInfo {
  uint64_t bytes = 0;
  // As the optimised level finds them: each target of a br_table costs about
  // as much as four.
  uint32_t operators = 0;
  bool tail_calls = false;
  bool uses_memory = false;  // memory 0
};

struct ModuleInfo {
  // Index spaces: imported ones first.
  std::vector<FuncType> types;
  std::vector<uint32_t> functions;  // type indices
  std::vector<ValType> globals;
  std::vector<bool> memory_is_64;
  // The pages that each has at least: nothing makes a memory smaller.
  std::vector<uint64_t> memory_pages_min;
  std::vector<ValType> tables;
  std::vector<uint32_t> tags;  // type indices
  uint32_t imported_functions = 0;
  uint32_t imported_globals = 0;
  std::vector<BodyInfo> bodies;  // of the module's own functions

  const FuncType& TypeOf(uint32_t function) const {
    return types[functions[function]];
  }
  bool HasTailCalls(uint32_t function) const {
    return function >= imported_functions &&
           bodies[function - imported_functions].tail_calls;
  }
  ContextLayout Layout() const {
    return ContextLayout(imported_functions,
                         static_cast<uint32_t>(memory_is_64.size()),
                         static_cast<uint32_t>(tables.size()),
                         static_cast<uint32_t>(globals.size()),
                         static_cast<uint32_t>(tags.size()));
  }
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_MODULE_INFO_H_
