#include "server/cli/func_type_message.h"

namespace callgate::cli {
namespace {

std::optional<ValType> ValTypeOf(int type) {
  switch (type) {
    case v1::VALUE_TYPE_I32:
      return ValType::kI32;
    case v1::VALUE_TYPE_I64:
      return ValType::kI64;
    case v1::VALUE_TYPE_F32:
      return ValType::kF32;
    case v1::VALUE_TYPE_F64:
      return ValType::kF64;
    case v1::VALUE_TYPE_V128:
      return ValType::kV128;
    case v1::VALUE_TYPE_FUNCREF:
      return ValType::kFuncRef;
    case v1::VALUE_TYPE_EXTERNREF:
      return ValType::kExternRef;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<FuncType> FuncTypeOf(const v1::FuncType& message) {
  FuncType type;
  for (const int param : message.params()) {
    const std::optional<ValType> known = ValTypeOf(param);
    if (!known.has_value()) return std::nullopt;
    type.params.push_back(*known);
  }
  for (const int result : message.results()) {
    const std::optional<ValType> known = ValTypeOf(result);
    if (!known.has_value()) return std::nullopt;
    type.results.push_back(*known);
  }
  return type;
}

}  // namespace callgate::cli
