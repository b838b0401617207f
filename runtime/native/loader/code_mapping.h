// Address space for code: constants and code side by side, with a guard page
// before and after.
//
// Writable and not executable until Seal(), after which the constants are
// read-only, the code is read-only and executable, and nothing is writable
// again. Owns its pages and unmaps them. Any thread may read it; filling it and
// sealing are the maker's, before it is shared.

#ifndef CALLGATE_RUNTIME_NATIVE_LOADER_CODE_MAPPING_H_
#define CALLGATE_RUNTIME_NATIVE_LOADER_CODE_MAPPING_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace callgate::native {

inline constexpr uint64_t kPageBytes = 4096;

constexpr uint64_t RoundUp(uint64_t value, uint64_t align) {
  return (value + (align - 1)) & ~(align - 1);  // align: a power of two
}

class CodeMapping {
 public:
  // `constant_bytes` of constants followed by `code_bytes` of code, both whole
  // pages. Unavailable when the system gives no memory.
  static absl::StatusOr<CodeMapping> Create(uint64_t constant_bytes,
                                            uint64_t code_bytes);

  CodeMapping(CodeMapping&& other) noexcept;
  CodeMapping& operator=(CodeMapping&&) = delete;
  CodeMapping(const CodeMapping&) = delete;
  CodeMapping& operator=(const CodeMapping&) = delete;
  ~CodeMapping();

  absl::Status Seal();

  // The first constant, or the first code when there are no constants.
  uint8_t* data() const { return data_; }
  uint64_t constant_bytes() const { return constant_bytes_; }
  uint64_t code_bytes() const { return code_bytes_; }

 private:
  CodeMapping(uint8_t* data, uint64_t constant_bytes, uint64_t code_bytes)
      : data_(data), constant_bytes_(constant_bytes), code_bytes_(code_bytes) {}

  uint8_t* data_;  // null when moved from
  uint64_t constant_bytes_;
  uint64_t code_bytes_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_LOADER_CODE_MAPPING_H_
