// Objects of compiled code, linked with each other and ready to run.
//
// The interface only, until the loader is merged.

#ifndef CALLGATE_RUNTIME_NATIVE_LOADER_OBJECT_LOADER_H_
#define CALLGATE_RUNTIME_NATIVE_LOADER_OBJECT_LOADER_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace callgate::native {

struct ExpectedSymbols {
  uint32_t imported_functions = 0;
  uint32_t functions = 0;
  uint32_t types = 0;
  absl::Span<const uint32_t> function_types;
};

struct LoadOptions {
  uint64_t code_bytes_max = 256 << 20;
};

struct CodePlace {
  uint32_t function = 0;
  uint64_t offset = 0;
  bool body = false;
};

class LoadedCode {
 public:
  ~LoadedCode();
  const void* Function(uint32_t function) const;
  const void* Body(uint32_t function) const;
  const void* EntryTrampoline(uint32_t type) const;
  const void* HostThunk(uint32_t type) const;
  std::optional<CodePlace> Find(const void* pc) const;
  uintptr_t begin() const;
  uintptr_t end() const;
  uint64_t code_bytes() const;
};

absl::StatusOr<std::unique_ptr<const LoadedCode>> LoadObjects(
    absl::Span<const absl::string_view> objects,
    const ExpectedSymbols& expected, const LoadOptions& options);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_LOADER_OBJECT_LOADER_H_
