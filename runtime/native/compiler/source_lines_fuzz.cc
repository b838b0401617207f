// Any bytes get an answer, and one that the daemon's reader takes. With Clang's
// libFuzzer this is a fuzz target as it stands (-fsanitize=fuzzer);
// source_lines_test.cc drives it without one.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "runtime/check.h"
#include "runtime/native/compiler/source_lines.h"
#include "runtime/native/source/source_map.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using callgate::native::AddSourceLines;
  using callgate::native::CompiledModule;
  using callgate::native::SourceMap;

  std::vector<uint64_t> offsets;
  for (uint64_t offset = 1; offset < size; offset += 2) {
    offsets.push_back(offset);
  }
  CompiledModule answer;
  AddSourceLines(absl::MakeConstSpan(data, size), offsets, answer);
  std::string serialised;
  CALLGATE_CHECK(answer.SerializeToString(&serialised), "it can be written");
  CompiledModule read;
  CALLGATE_CHECK(read.ParseFromString(serialised),
                 "its texts are what protobuf reads");
  CALLGATE_CHECK(SourceMap::Make(read.source_lines(), size).ok(),
                 "the daemon takes it");
  return 0;
}
