// Valid modules out of any bytes, with the calls that they are to be given.
//
// Tests only. Stateless; any thread.

#ifndef CALLGATE_TESTS_FUZZ_MODULE_GENERATOR_H_
#define CALLGATE_TESTS_FUZZ_MODULE_GENERATOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "runtime/value.h"

namespace callgate::fuzz {

struct GuestCall {
  std::string name;  // of the export
  std::vector<Value> args;
};

struct GeneratedModule {
  std::vector<uint8_t> wasm;
  std::vector<GuestCall> calls;
  // What its imports are, from "env", in this order.
  struct Import {
    std::string name;
    FuncType type;
  };
  std::vector<Import> imports;
  // Names of the exports: every memory, global and table there is.
  std::vector<std::string> memories;
  std::vector<std::string> globals;
  std::vector<std::string> tables;
  // wabt's interpreter loses its way where exceptions are caught (it picks
  // operands beneath its stack): what such a module does is compared between
  // the native engine's levels alone.
  bool has_exceptions = false;
  // The functions, by index, that a hook's probes are put at; mostly none.
  std::vector<uint32_t> probed;
  // What the call hook does at its n-th CallingHost, counted from 1; 0: never.
  uint32_t refuse_at = 0;
  uint32_t answer_at = 0;
};

// The export whose value bounds how much loops and calls of one call do.
inline constexpr char kBudgetGlobal[] = "g0";
inline constexpr uint32_t kBudget = 200;

// With `canonical_nans` the code itself makes every NaN that an operator makes
// canonical: see BodyGenerator. Apart from that the module is the same.
GeneratedModule GenerateModule(absl::Span<const uint8_t> bytes,
                               bool canonical_nans);

}  // namespace callgate::fuzz

#endif  // CALLGATE_TESTS_FUZZ_MODULE_GENERATOR_H_
