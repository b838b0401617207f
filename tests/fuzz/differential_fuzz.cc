// The engines agree on the module that any bytes make. With Clang's libFuzzer
// this is a fuzz target as it stands (-fsanitize=fuzzer); differential_test.cc
// drives it without one.

#include <cstddef>
#include <cstdint>

#include "runtime/check.h"
#include "tests/fuzz/differential.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const engines = new callgate::fuzz::Differential;
  const std::string difference = engines->Check({data, size});
  CALLGATE_CHECK(difference.empty(), difference.c_str());
  return 0;
}
