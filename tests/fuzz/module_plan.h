// What the functions of a generated module may refer to, and what calls it is
// to be given.

#ifndef CALLGATE_TESTS_FUZZ_MODULE_PLAN_H_
#define CALLGATE_TESTS_FUZZ_MODULE_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/value.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/code_writer.h"

namespace callgate::fuzz {

// The first types of every module, by index.
enum FixedType : uint32_t {
  kNothingToNothing,
  kI32ToI32,
  kI32ToNothing,
  kTwoI32ToI32,
  kFixedTypes,
};

// The functions that every module imports from "env", by index.
enum HostImport : uint32_t {
  kMixA,     // a type of its own: results are made of the arguments
  kMixB,     // the same
  kFail,     // (i32): an error, or nothing
  kReenter,  // (i32) -> i32: calls the module's "f0"
  kTouch,    // (i32, i32) -> i32: reads and writes the memory
  kHostImports,
};

inline constexpr uint32_t kNoFunction = ~uint32_t{0};

struct ModulePlan {
  struct Global {
    ValType type = ValType::kI32;
    bool is_mutable = false;
    RawValue initial;
  };

  std::vector<FuncType> types;
  // The type of each function, the imports first.
  std::vector<uint32_t> functions;
  // Global 0 is the budget of loops and calls, a mutable i32.
  std::vector<Global> globals;
  std::vector<uint32_t> table_sizes;  // of funcref
  // What table 0 holds at first: functions, or kNoFunction.
  std::vector<uint32_t> elements;
  uint32_t pages = 1;
  uint32_t pages_max = 1;
  bool memory64 = false;
  // A memory 1 beside memory 0.
  bool second_memory = false;
  uint32_t data_segments = 0;
  uint32_t element_segments = 0;
  // The type of each tag; none without exceptions.
  std::vector<uint32_t> tags;
  bool has_start = false;

  const FuncType& TypeOf(uint32_t function) const {
    return types[functions[function]];
  }
};

// A value that is more likely than others to show a mistake.
RawValue InterestingValue(ValType type, ByteSource& source);
// The operator that pushes it.
void WriteConst(CodeWriter& code, ValType type, const RawValue& value);

}  // namespace callgate::fuzz

#endif  // CALLGATE_TESTS_FUZZ_MODULE_PLAN_H_
