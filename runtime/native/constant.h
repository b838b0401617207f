// Constant expressions: checked once, when a module's image is made, and
// evaluated by every instantiation.

#ifndef CALLGATE_RUNTIME_NATIVE_CONSTANT_H_
#define CALLGATE_RUNTIME_NATIVE_CONSTANT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "runtime/extern_type.h"
#include "runtime/native/compiled_module.pb.h"
#include "runtime/value.h"

namespace callgate::native {

// Operators of one expression.
inline constexpr int kConstOpsMax = 1'000;

// What an expression may refer to.
struct ConstScope {
  absl::Span<const GlobalType> imported_globals;
  uint64_t functions = 0;
};

// An expression that evaluates to one value of a known type, whatever the
// values of the imported globals are.
class Constant {
 public:
  // Nothing when `ops` is no expression of type `wanted` in this scope.
  static std::optional<Constant> Check(
      const google::protobuf::RepeatedPtrField<ConstOp>& ops, ValType wanted,
      const ConstScope& scope);

  // As compiled code keeps values: see abi.h.
  struct Environment {
    virtual RawValue GlobalGet(uint32_t index) = 0;
    virtual RawValue RefFunc(uint32_t index) = 0;

   protected:
    ~Environment() = default;
  };
  RawValue Evaluate(Environment& environment) const;

  // The value, if it depends on nothing. References are no such values.
  std::optional<RawValue> Known() const;

 private:
  struct Op {
    ConstOp::Kind kind = ConstOp::KIND_UNSPECIFIED;
    RawValue value;      // of constants
    uint32_t index = 0;  // of the others
  };
  std::vector<Op> ops_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_CONSTANT_H_
