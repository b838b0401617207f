// From a place in a function's code to the place in the module that it was
// made from.
//
// Kept as the compiler wrote it, in differences, and added up when a trap asks.
// Immutable; any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_CODE_MAP_H_
#define CALLGATE_RUNTIME_NATIVE_CODE_MAP_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "runtime/native/compiled_module.pb.h"

namespace callgate::native {

class CodeMap {
 public:
  CodeMap() = default;

  // Functions are those from `imported` to `functions`; module offsets are
  // below `module_bytes`. InvalidArgument says what is wrong.
  static absl::StatusOr<CodeMap> Make(
      const google::protobuf::RepeatedPtrField<FunctionCode>& code,
      uint32_t imported, uint32_t functions, uint64_t module_bytes);

  // The module offset of the operator whose code holds this byte of f<function>
  // or, with `body`, of b<function>; if the compiler noted one at or before it.
  std::optional<uint64_t> ModuleOffset(uint32_t function, bool body,
                                       uint64_t code_offset) const;

 private:
  struct Step {
    uint32_t code = 0;
    int32_t module = 0;
  };
  uint32_t imported_ = 0;
  // Of both symbols of each own function, and one past the last: where its
  // steps begin.
  std::vector<uint32_t> first_;
  std::vector<Step> steps_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_CODE_MAP_H_
