#include "runtime/native/constant.h"

#include "runtime/check.h"

namespace callgate::native {
namespace {

RawValue Vector(uint64_t low, uint64_t high) {
  V128 vector;
  std::memcpy(vector.bytes.data(), &low, 8);
  std::memcpy(vector.bytes.data() + 8, &high, 8);
  return RawValue::Vector(vector);
}

bool IsOperator(ConstOp::Kind kind) {
  switch (kind) {
    case ConstOp::I32_ADD:
    case ConstOp::I32_SUB:
    case ConstOp::I32_MUL:
    case ConstOp::I64_ADD:
    case ConstOp::I64_SUB:
    case ConstOp::I64_MUL:
      return true;
    default:
      return false;
  }
}

RawValue Apply(ConstOp::Kind kind, const RawValue& a, const RawValue& b) {
  switch (kind) {
    case ConstOp::I32_ADD:
      return RawValue::I32(a.u32() + b.u32());
    case ConstOp::I32_SUB:
      return RawValue::I32(a.u32() - b.u32());
    case ConstOp::I32_MUL:
      return RawValue::I32(a.u32() * b.u32());
    case ConstOp::I64_ADD:
      return RawValue::I64(a.u64() + b.u64());
    case ConstOp::I64_SUB:
      return RawValue::I64(a.u64() - b.u64());
    case ConstOp::I64_MUL:
      return RawValue::I64(a.u64() * b.u64());
    default:
      break;
  }
  CALLGATE_CHECK(false, "only operators are applied");
  return a;
}

// The representation of null in compiled code.
RawValue Null(ValType type) {
  return RawValue::Ref(type == ValType::kFuncRef ? 0 : kNullRef);
}

}  // namespace

std::optional<Constant> Constant::Check(
    const google::protobuf::RepeatedPtrField<ConstOp>& ops, ValType wanted,
    const ConstScope& scope) {
  if (ops.empty() || ops.size() > kConstOpsMax) return std::nullopt;
  Constant constant;
  constant.ops_.reserve(static_cast<size_t>(ops.size()));
  // Every operator takes two values of the type it makes, so a count of values
  // that all have the wanted type is enough.
  size_t values = 0;
  for (const ConstOp& from : ops) {
    Op op;
    op.kind = from.kind();
    ValType type = ValType::kI32;
    switch (from.kind()) {
      case ConstOp::I32_CONST:
        if (from.bits() > ~uint32_t{0}) return std::nullopt;
        op.value = RawValue::I32(static_cast<uint32_t>(from.bits()));
        break;
      case ConstOp::I64_CONST:
        type = ValType::kI64;
        op.value = RawValue::I64(from.bits());
        break;
      case ConstOp::F32_CONST:
        if (from.bits() > ~uint32_t{0}) return std::nullopt;
        type = ValType::kF32;
        op.value = RawValue::I64(from.bits());
        break;
      case ConstOp::F64_CONST:
        type = ValType::kF64;
        op.value = RawValue::I64(from.bits());
        break;
      case ConstOp::V128_CONST:
        type = ValType::kV128;
        op.value = Vector(from.bits(), from.bits_high());
        break;
      case ConstOp::GLOBAL_GET: {
        if (from.bits() >= scope.imported_globals.size()) return std::nullopt;
        const GlobalType& global =
            scope.imported_globals[static_cast<size_t>(from.bits())];
        if (global.is_mutable) return std::nullopt;
        type = global.type;
        op.index = static_cast<uint32_t>(from.bits());
        break;
      }
      case ConstOp::REF_NULL:
        if (from.bits() != static_cast<uint64_t>(wanted) ||
            !IsReference(wanted)) {
          return std::nullopt;
        }
        type = wanted;
        op.value = Null(type);
        break;
      case ConstOp::REF_FUNC:
        if (from.bits() >= scope.functions) return std::nullopt;
        type = ValType::kFuncRef;
        op.index = static_cast<uint32_t>(from.bits());
        break;
      case ConstOp::I32_ADD:
      case ConstOp::I32_SUB:
      case ConstOp::I32_MUL:
        break;
      case ConstOp::I64_ADD:
      case ConstOp::I64_SUB:
      case ConstOp::I64_MUL:
        type = ValType::kI64;
        break;
      default:
        return std::nullopt;
    }
    if (type != wanted) return std::nullopt;
    if (IsOperator(from.kind())) {
      if (values < 2) return std::nullopt;
      --values;
    } else {
      ++values;
    }
    constant.ops_.push_back(op);
  }
  if (values != 1) return std::nullopt;
  return constant;
}

RawValue Constant::Evaluate(Environment& environment) const {
  const auto leaf = [&](const Op& op) {
    if (op.kind == ConstOp::GLOBAL_GET) return environment.GlobalGet(op.index);
    if (op.kind == ConstOp::REF_FUNC) return environment.RefFunc(op.index);
    return op.value;
  };
  if (ops_.size() == 1) return leaf(ops_[0]);
  std::vector<RawValue> stack;
  for (const Op& op : ops_) {
    if (!IsOperator(op.kind)) {
      stack.push_back(leaf(op));
      continue;
    }
    const RawValue right = stack.back();
    stack.pop_back();
    stack.back() = Apply(op.kind, stack.back(), right);
  }
  return stack.back();
}

std::optional<RawValue> Constant::Known() const {
  class Nothing final : public Environment {
   public:
    RawValue GlobalGet(uint32_t) override { return RawValue(); }
    RawValue RefFunc(uint32_t) override { return RawValue(); }
  };
  for (const Op& op : ops_) {
    if (op.kind == ConstOp::GLOBAL_GET || op.kind == ConstOp::REF_FUNC ||
        op.kind == ConstOp::REF_NULL) {
      return std::nullopt;
    }
  }
  Nothing nothing;
  return Evaluate(nothing);
}

}  // namespace callgate::native
