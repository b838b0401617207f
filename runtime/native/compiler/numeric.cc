// Arithmetic on i32, i64, f32 and f64.

#include <limits>

#include "llvm/ADT/APFloat.h"
#include "llvm/IR/Intrinsics.h"
#include "runtime/native/compiler/translator.h"

namespace callgate::native {
namespace {

using wabt::Opcode;

// The predicate of a comparison of integers or floats.
llvm::CmpInst::Predicate PredicateOf(Opcode opcode) {
  using P = llvm::CmpInst;
  switch (opcode) {
    case Opcode::I32Eq:
    case Opcode::I64Eq:
      return P::ICMP_EQ;
    case Opcode::I32Ne:
    case Opcode::I64Ne:
      return P::ICMP_NE;
    case Opcode::I32LtS:
    case Opcode::I64LtS:
      return P::ICMP_SLT;
    case Opcode::I32LtU:
    case Opcode::I64LtU:
      return P::ICMP_ULT;
    case Opcode::I32GtS:
    case Opcode::I64GtS:
      return P::ICMP_SGT;
    case Opcode::I32GtU:
    case Opcode::I64GtU:
      return P::ICMP_UGT;
    case Opcode::I32LeS:
    case Opcode::I64LeS:
      return P::ICMP_SLE;
    case Opcode::I32LeU:
    case Opcode::I64LeU:
      return P::ICMP_ULE;
    case Opcode::I32GeS:
    case Opcode::I64GeS:
      return P::ICMP_SGE;
    case Opcode::I32GeU:
    case Opcode::I64GeU:
      return P::ICMP_UGE;
    case Opcode::F32Eq:
    case Opcode::F64Eq:
      return P::FCMP_OEQ;
    case Opcode::F32Ne:
    case Opcode::F64Ne:
      return P::FCMP_UNE;
    case Opcode::F32Lt:
    case Opcode::F64Lt:
      return P::FCMP_OLT;
    case Opcode::F32Gt:
    case Opcode::F64Gt:
      return P::FCMP_OGT;
    case Opcode::F32Le:
    case Opcode::F64Le:
      return P::FCMP_OLE;
    case Opcode::F32Ge:
    case Opcode::F64Ge:
      return P::FCMP_OGE;
    default:
      return P::BAD_ICMP_PREDICATE;
  }
}

}  // namespace

Translator::Result Translator::OnI32ConstExpr(uint32_t value) {
  if (type_ == nullptr || skipping_ || !reachable_) return Result::Ok;
  Push(I32(value));
  return Result::Ok;
}

Translator::Result Translator::OnI64ConstExpr(uint64_t value) {
  if (type_ == nullptr || skipping_ || !reachable_) return Result::Ok;
  Push(I64(value));
  return Result::Ok;
}

Translator::Result Translator::OnF32ConstExpr(uint32_t bits) {
  if (type_ == nullptr || skipping_ || !reachable_) return Result::Ok;
  Push(llvm::ConstantFP::get(
      context_,
      llvm::APFloat(llvm::APFloat::IEEEsingle(), llvm::APInt(32, bits))));
  return Result::Ok;
}

Translator::Result Translator::OnF64ConstExpr(uint64_t bits) {
  if (type_ == nullptr || skipping_ || !reachable_) return Result::Ok;
  Push(llvm::ConstantFP::get(
      context_,
      llvm::APFloat(llvm::APFloat::IEEEdouble(), llvm::APInt(64, bits))));
  return Result::Ok;
}

llvm::Value* Translator::IntBinary(Opcode opcode, llvm::Value* left,
                                   llvm::Value* right) {
  llvm::Type* const type = left->getType();
  const unsigned bits = type->getIntegerBitWidth();
  const auto constant = [type](uint64_t value) {
    return llvm::ConstantInt::get(type, value);
  };
  const auto shift_count = [&] {
    return b().CreateAnd(right, constant(bits - 1));
  };
  llvm::Value* const zero = constant(0);
  llvm::Value* const minus_one = llvm::Constant::getAllOnesValue(type);
  switch (opcode) {
    case Opcode::I32Add:
    case Opcode::I64Add:
      return b().CreateAdd(left, right);
    case Opcode::I32Sub:
    case Opcode::I64Sub:
      return b().CreateSub(left, right);
    case Opcode::I32Mul:
    case Opcode::I64Mul:
      return b().CreateMul(left, right);
    case Opcode::I32DivS:
    case Opcode::I64DivS: {
      TrapIf(b().CreateICmpEQ(right, zero), TrapCode::kIntegerDivideByZero);
      llvm::Value* const lowest =
          llvm::ConstantInt::get(type, llvm::APInt::getSignedMinValue(bits));
      TrapIf(b().CreateAnd(b().CreateICmpEQ(left, lowest),
                           b().CreateICmpEQ(right, minus_one)),
             TrapCode::kIntegerOverflow);
      return b().CreateSDiv(left, right);
    }
    case Opcode::I32DivU:
    case Opcode::I64DivU:
      TrapIf(b().CreateICmpEQ(right, zero), TrapCode::kIntegerDivideByZero);
      return b().CreateUDiv(left, right);
    case Opcode::I32RemS:
    case Opcode::I64RemS:
      TrapIf(b().CreateICmpEQ(right, zero), TrapCode::kIntegerDivideByZero);
      // The processor faults on lowest / -1, whose remainder is 0 as anything's
      // by 1 is.
      return b().CreateSRem(left,
                            b().CreateSelect(b().CreateICmpEQ(right, minus_one),
                                             constant(1), right));
    case Opcode::I32RemU:
    case Opcode::I64RemU:
      TrapIf(b().CreateICmpEQ(right, zero), TrapCode::kIntegerDivideByZero);
      return b().CreateURem(left, right);
    case Opcode::I32And:
    case Opcode::I64And:
      return b().CreateAnd(left, right);
    case Opcode::I32Or:
    case Opcode::I64Or:
      return b().CreateOr(left, right);
    case Opcode::I32Xor:
    case Opcode::I64Xor:
      return b().CreateXor(left, right);
    case Opcode::I32Shl:
    case Opcode::I64Shl:
      return b().CreateShl(left, shift_count());
    case Opcode::I32ShrS:
    case Opcode::I64ShrS:
      return b().CreateAShr(left, shift_count());
    case Opcode::I32ShrU:
    case Opcode::I64ShrU:
      return b().CreateLShr(left, shift_count());
    case Opcode::I32Rotl:
    case Opcode::I64Rotl:
      return b().CreateIntrinsic(llvm::Intrinsic::fshl, {type},
                                 {left, left, right});
    case Opcode::I32Rotr:
    case Opcode::I64Rotr:
      return b().CreateIntrinsic(llvm::Intrinsic::fshr, {type},
                                 {left, left, right});
    default:
      return nullptr;
  }
}

Translator::Result Translator::OnBinaryExpr(Opcode opcode) {
  if (type_ == nullptr || skipping_ || !reachable_) return Result::Ok;
  if (SimdBinary(opcode)) return Result::Ok;
  switch (opcode) {
    case Opcode::F32Add:
    case Opcode::F64Add:
    case Opcode::F32Sub:
    case Opcode::F64Sub:
    case Opcode::F32Mul:
    case Opcode::F64Mul:
    case Opcode::F32Div:
    case Opcode::F64Div:
    case Opcode::F32Min:
    case Opcode::F64Min:
    case Opcode::F32Max:
    case Opcode::F64Max: {
      llvm::Value* const right = Quieted(PopNumber(Arithmetic::kScalar));
      llvm::Value* const left = Quieted(PopNumber(Arithmetic::kScalar));
      llvm::Value* result = nullptr;
      switch (opcode) {
        case Opcode::F32Add:
        case Opcode::F64Add:
          result = b().CreateFAdd(left, right);
          break;
        case Opcode::F32Sub:
        case Opcode::F64Sub:
          result = b().CreateFSub(left, right);
          break;
        case Opcode::F32Mul:
        case Opcode::F64Mul:
          result = b().CreateFMul(left, right);
          break;
        case Opcode::F32Div:
        case Opcode::F64Div:
          result = b().CreateFDiv(left, right);
          break;
        case Opcode::F32Min:
        case Opcode::F64Min:
          result =
              b().CreateBinaryIntrinsic(llvm::Intrinsic::minimum, left, right);
          break;
        default:
          result =
              b().CreateBinaryIntrinsic(llvm::Intrinsic::maximum, left, right);
          break;
      }
      // Without canonical NaNs an operator must still quiet a signalling one,
      // which LLVM forgets where it can tell that x op constant is x, and for
      // the lesser and the greater of two always: it hands on the operand.
      const bool hands_on = opcode == Opcode::F32Min ||
                            opcode == Opcode::F64Min ||
                            opcode == Opcode::F32Max ||
                            opcode == Opcode::F64Max;
      const bool folds =
          llvm::isa<llvm::Constant>(left) || llvm::isa<llvm::Constant>(right);
      if ((folds || hands_on) && !request_.canonical_nans) {
        Push(Canonical({result, Arithmetic::kScalar}));
      } else {
        Push(result, Computed(Arithmetic::kScalar));
      }
      return Result::Ok;
    }
    case Opcode::F32Copysign:
    case Opcode::F64Copysign: {
      llvm::Value* const sign = Pop();
      llvm::Value* const magnitude = Pop();
      Push(b().CreateBinaryIntrinsic(llvm::Intrinsic::copysign, magnitude,
                                     sign));
      return Result::Ok;
    }
    default:
      break;
  }
  llvm::Value* const right = Pop();
  llvm::Value* const left = Pop();
  llvm::Value* const result = IntBinary(opcode, left, right);
  if (result == nullptr) return Unsupported(opcode);
  Push(result);
  return Result::Ok;
}

Translator::Result Translator::OnCompareExpr(Opcode opcode) {
  if (skipping_ || !reachable_) return Result::Ok;
  if (SimdCompare(opcode)) return Result::Ok;
  const llvm::CmpInst::Predicate predicate = PredicateOf(opcode);
  if (predicate == llvm::CmpInst::BAD_ICMP_PREDICATE) {
    return Unsupported(opcode);
  }
  // Any NaN compares like any other.
  llvm::Value* const right = PopNumber(Arithmetic::kScalar);
  llvm::Value* const left = PopNumber(Arithmetic::kScalar);
  Push(b().CreateZExt(b().CreateCmp(predicate, left, right), b().getInt32Ty()));
  return Result::Ok;
}

Translator::Result Translator::OnUnaryExpr(Opcode opcode) {
  if (skipping_ || !reachable_) return Result::Ok;
  if (SimdUnary(opcode)) return Result::Ok;
  const auto rounded = [&](llvm::Intrinsic::ID id) {
    llvm::Value* const value = PopNumber(Arithmetic::kScalar);
    Push(b().CreateUnaryIntrinsic(id, value), Computed(Arithmetic::kScalar));
    return Result::Ok;
  };
  const auto extended = [&](unsigned bits) {
    llvm::Value* const value = Pop();
    Push(b().CreateSExt(b().CreateTrunc(value, b().getIntNTy(bits)),
                        value->getType()));
    return Result::Ok;
  };
  switch (opcode) {
    case Opcode::I32Eqz:
    case Opcode::I64Eqz: {
      llvm::Value* const value = Pop();
      Push(b().CreateZExt(b().CreateIsNull(value), b().getInt32Ty()));
      return Result::Ok;
    }
    case Opcode::I32Clz:
    case Opcode::I64Clz: {
      llvm::Value* const value = Pop();
      Push(b().CreateBinaryIntrinsic(llvm::Intrinsic::ctlz, value,
                                     b().getFalse()));
      return Result::Ok;
    }
    case Opcode::I32Ctz:
    case Opcode::I64Ctz: {
      llvm::Value* const value = Pop();
      Push(b().CreateBinaryIntrinsic(llvm::Intrinsic::cttz, value,
                                     b().getFalse()));
      return Result::Ok;
    }
    case Opcode::I32Popcnt:
    case Opcode::I64Popcnt:
      Push(b().CreateUnaryIntrinsic(llvm::Intrinsic::ctpop, Pop()));
      return Result::Ok;
    case Opcode::I32Extend8S:
    case Opcode::I64Extend8S:
      return extended(8);
    case Opcode::I32Extend16S:
    case Opcode::I64Extend16S:
      return extended(16);
    case Opcode::I64Extend32S:
      return extended(32);
    case Opcode::F32Abs:
    case Opcode::F64Abs:
      // These three are about bits: the sign of a NaN shows.
      Push(b().CreateUnaryIntrinsic(llvm::Intrinsic::fabs, Pop()));
      return Result::Ok;
    case Opcode::F32Neg:
    case Opcode::F64Neg:
      Push(b().CreateFNeg(Pop()));
      return Result::Ok;
    case Opcode::F32Ceil:
    case Opcode::F64Ceil:
      return rounded(llvm::Intrinsic::ceil);
    case Opcode::F32Floor:
    case Opcode::F64Floor:
      return rounded(llvm::Intrinsic::floor);
    case Opcode::F32Trunc:
    case Opcode::F64Trunc:
      return rounded(llvm::Intrinsic::trunc);
    case Opcode::F32Nearest:
    case Opcode::F64Nearest:
      return rounded(llvm::Intrinsic::roundeven);
    case Opcode::F32Sqrt:
    case Opcode::F64Sqrt:
      return rounded(llvm::Intrinsic::sqrt);
    default:
      return Unsupported(opcode);
  }
}

llvm::Value* Translator::Truncate(llvm::Value* value, llvm::Type* to,
                                  bool is_signed) {
  llvm::Type* const from = value->getType();
  const unsigned bits = to->getIntegerBitWidth();
  TrapIf(b().CreateFCmpUNO(value, value),
         TrapCode::kInvalidConversionToInteger);
  // The values that fit are those above `low` and below 2^(bits or bits - 1).
  // Where the format cannot tell low - 1 from low, `low` itself fits.
  const double high = is_signed ? (bits == 32 ? 0x1p31 : 0x1p63)
                                : (bits == 32 ? 0x1p32 : 0x1p64);
  llvm::Value* too_low = nullptr;
  if (!is_signed) {
    too_low = b().CreateFCmpOLE(value, llvm::ConstantFP::get(from, -1.0));
  } else if (bits == 32 && from->isDoubleTy()) {
    too_low =
        b().CreateFCmpOLE(value, llvm::ConstantFP::get(from, -0x1p31 - 1.0));
  } else {
    too_low = b().CreateFCmpOLT(value, llvm::ConstantFP::get(from, -high));
  }
  llvm::Value* const too_high =
      b().CreateFCmpOGE(value, llvm::ConstantFP::get(from, high));
  TrapIf(b().CreateOr(too_low, too_high), TrapCode::kIntegerOverflow);
  return is_signed ? b().CreateFPToSI(value, to) : b().CreateFPToUI(value, to);
}

Translator::Result Translator::OnConvertExpr(Opcode opcode) {
  if (skipping_ || !reachable_) return Result::Ok;
  if (SimdUnary(opcode)) return Result::Ok;
  llvm::Type* const i32 = b().getInt32Ty();
  llvm::Type* const i64 = b().getInt64Ty();
  llvm::Type* const f32 = b().getFloatTy();
  llvm::Type* const f64 = b().getDoubleTy();
  const auto number = [this] { return PopNumber(Arithmetic::kScalar); };
  const auto push = [this](llvm::Value* value) {
    Push(value);
    return Result::Ok;
  };
  const auto saturated = [&](llvm::Intrinsic::ID id, llvm::Type* to) {
    llvm::Value* const value = number();
    return push(b().CreateIntrinsic(id, {to, value->getType()}, {value}));
  };
  switch (opcode) {
    case Opcode::I32Eqz:
    case Opcode::I64Eqz:
      return OnUnaryExpr(opcode);
    case Opcode::I32WrapI64:
      return push(b().CreateTrunc(Pop(), i32));
    case Opcode::I64ExtendI32S:
      return push(b().CreateSExt(Pop(), i64));
    case Opcode::I64ExtendI32U:
      return push(b().CreateZExt(Pop(), i64));
    case Opcode::I32TruncF32S:
    case Opcode::I32TruncF64S:
      return push(Truncate(number(), i32, true));
    case Opcode::I32TruncF32U:
    case Opcode::I32TruncF64U:
      return push(Truncate(number(), i32, false));
    case Opcode::I64TruncF32S:
    case Opcode::I64TruncF64S:
      return push(Truncate(number(), i64, true));
    case Opcode::I64TruncF32U:
    case Opcode::I64TruncF64U:
      return push(Truncate(number(), i64, false));
    case Opcode::I32TruncSatF32S:
    case Opcode::I32TruncSatF64S:
      return saturated(llvm::Intrinsic::fptosi_sat, i32);
    case Opcode::I32TruncSatF32U:
    case Opcode::I32TruncSatF64U:
      return saturated(llvm::Intrinsic::fptoui_sat, i32);
    case Opcode::I64TruncSatF32S:
    case Opcode::I64TruncSatF64S:
      return saturated(llvm::Intrinsic::fptosi_sat, i64);
    case Opcode::I64TruncSatF32U:
    case Opcode::I64TruncSatF64U:
      return saturated(llvm::Intrinsic::fptoui_sat, i64);
    case Opcode::F32ConvertI32S:
    case Opcode::F32ConvertI64S:
      return push(b().CreateSIToFP(Pop(), f32));
    case Opcode::F32ConvertI32U:
    case Opcode::F32ConvertI64U:
      return push(b().CreateUIToFP(Pop(), f32));
    case Opcode::F64ConvertI32S:
    case Opcode::F64ConvertI64S:
      return push(b().CreateSIToFP(Pop(), f64));
    case Opcode::F64ConvertI32U:
    case Opcode::F64ConvertI64U:
      return push(b().CreateUIToFP(Pop(), f64));
    case Opcode::F32DemoteF64: {
      llvm::Value* const value = Quieted(number());
      Push(b().CreateFPTrunc(value, f32), Computed(Arithmetic::kScalar));
      return Result::Ok;
    }
    case Opcode::F64PromoteF32: {
      llvm::Value* const value = number();
      Push(b().CreateFPExt(value, f64), Computed(Arithmetic::kScalar));
      return Result::Ok;
    }
    case Opcode::I32ReinterpretF32:
      return push(b().CreateBitCast(Pop(), i32));
    case Opcode::I64ReinterpretF64:
      return push(b().CreateBitCast(Pop(), i64));
    case Opcode::F32ReinterpretI32:
      return push(b().CreateBitCast(Pop(), f32));
    case Opcode::F64ReinterpretI64:
      return push(b().CreateBitCast(Pop(), f64));
    default:
      return Unsupported(opcode);
  }
}

}  // namespace callgate::native
