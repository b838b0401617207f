// SIMD operators with two operands.

#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "runtime/check.h"
#include "runtime/native/compiler/translator.h"

namespace callgate::native {

// Both operands and the result are of `left`'s shape. Null for other operators.
llvm::Value* Translator::IntLanes(Opcode opcode, llvm::Value* left,
                                  llvm::Value* right) {
  const auto both = [&](llvm::Intrinsic::ID id) {
    return b().CreateBinaryIntrinsic(id, left, right);
  };
  switch (opcode) {
    case Opcode::V128And:
      return b().CreateAnd(left, right);
    case Opcode::V128Or:
      return b().CreateOr(left, right);
    case Opcode::V128Xor:
      return b().CreateXor(left, right);
    case Opcode::V128Andnot:
      return b().CreateAnd(left, b().CreateNot(right));

    case Opcode::I8X16Add:
    case Opcode::I16X8Add:
    case Opcode::I32X4Add:
    case Opcode::I64X2Add:
      return b().CreateAdd(left, right);
    case Opcode::I8X16Sub:
    case Opcode::I16X8Sub:
    case Opcode::I32X4Sub:
    case Opcode::I64X2Sub:
      return b().CreateSub(left, right);
    case Opcode::I16X8Mul:
    case Opcode::I32X4Mul:
    case Opcode::I64X2Mul:
      return b().CreateMul(left, right);

    case Opcode::I8X16AddSatS:
    case Opcode::I16X8AddSatS:
      return both(llvm::Intrinsic::sadd_sat);
    case Opcode::I8X16AddSatU:
    case Opcode::I16X8AddSatU:
      return both(llvm::Intrinsic::uadd_sat);
    case Opcode::I8X16SubSatS:
    case Opcode::I16X8SubSatS:
      return both(llvm::Intrinsic::ssub_sat);
    case Opcode::I8X16SubSatU:
    case Opcode::I16X8SubSatU:
      return both(llvm::Intrinsic::usub_sat);

    case Opcode::I8X16MinS:
    case Opcode::I16X8MinS:
    case Opcode::I32X4MinS:
      return both(llvm::Intrinsic::smin);
    case Opcode::I8X16MinU:
    case Opcode::I16X8MinU:
    case Opcode::I32X4MinU:
      return both(llvm::Intrinsic::umin);
    case Opcode::I8X16MaxS:
    case Opcode::I16X8MaxS:
    case Opcode::I32X4MaxS:
      return both(llvm::Intrinsic::smax);
    case Opcode::I8X16MaxU:
    case Opcode::I16X8MaxU:
    case Opcode::I32X4MaxU:
      return both(llvm::Intrinsic::umax);

    case Opcode::I8X16AvgrU:
      return CallIntrinsic(llvm::Intrinsic::x86_sse2_pavg_b, {left, right});
    case Opcode::I16X8AvgrU:
      return CallIntrinsic(llvm::Intrinsic::x86_sse2_pavg_w, {left, right});

    case Opcode::I16X8Q15mulrSatS:
    case Opcode::I16X8RelaxedQ15mulrS: {
      // 0x8000 is the result of 0x8000 * 0x8000 only, and saturates.
      llvm::Value* const product = CallIntrinsic(
          llvm::Intrinsic::x86_ssse3_pmul_hr_sw_128, {left, right});
      llvm::Value* const overflow = b().CreateICmpEQ(
          product, llvm::ConstantInt::get(product->getType(), 0x8000));
      return b().CreateXor(product,
                           b().CreateSExt(overflow, product->getType()));
    }

    case Opcode::I8X16Swizzle:
    case Opcode::I8X16RelaxedSwizzle:
      // pshufb gives 0 where the index's highest bit is set: with 0x70 added,
      // saturating, it is from 16 on.
      return CallIntrinsic(
          llvm::Intrinsic::x86_ssse3_pshuf_b_128,
          {left, b().CreateBinaryIntrinsic(
                     llvm::Intrinsic::uadd_sat, right,
                     llvm::ConstantInt::get(right->getType(), 0x70))});

    // One of the operands, bit by bit.
    case Opcode::F32X4PMin:
    case Opcode::F64X2PMin:
      return b().CreateSelect(b().CreateFCmpOLT(right, left), right, left);
    case Opcode::F32X4PMax:
    case Opcode::F64X2PMax:
      return b().CreateSelect(b().CreateFCmpOLT(left, right), right, left);
    default:
      return nullptr;
  }
}

// The operands, <2 x i64>, have lanes of another width than the result. Null
// for other operators.
llvm::Value* Translator::MixedLanes(Opcode opcode, llvm::Value* left,
                                    llvm::Value* right) {
  const auto call = [&](llvm::Intrinsic::ID id, Shape from) {
    return CallIntrinsic(id, {AsLanes(left, from), AsLanes(right, from)});
  };
  const auto product = [&](Shape from, bool low, bool is_signed) {
    return b().CreateMul(ExtendHalf(AsLanes(left, from), low, is_signed),
                         ExtendHalf(AsLanes(right, from), low, is_signed));
  };
  switch (opcode) {
    case Opcode::I8X16NarrowI16X8S:
      return call(llvm::Intrinsic::x86_sse2_packsswb_128, Shape::kI16x8);
    case Opcode::I8X16NarrowI16X8U:
      return call(llvm::Intrinsic::x86_sse2_packuswb_128, Shape::kI16x8);
    case Opcode::I16X8NarrowI32X4S:
      return call(llvm::Intrinsic::x86_sse2_packssdw_128, Shape::kI32x4);
    case Opcode::I16X8NarrowI32X4U:
      return call(llvm::Intrinsic::x86_sse41_packusdw, Shape::kI32x4);

    case Opcode::I16X8ExtmulLowI8X16S:
      return product(Shape::kI8x16, true, true);
    case Opcode::I16X8ExtmulHighI8X16S:
      return product(Shape::kI8x16, false, true);
    case Opcode::I16X8ExtmulLowI8X16U:
      return product(Shape::kI8x16, true, false);
    case Opcode::I16X8ExtmulHighI8X16U:
      return product(Shape::kI8x16, false, false);
    case Opcode::I32X4ExtmulLowI16X8S:
      return product(Shape::kI16x8, true, true);
    case Opcode::I32X4ExtmulHighI16X8S:
      return product(Shape::kI16x8, false, true);
    case Opcode::I32X4ExtmulLowI16X8U:
      return product(Shape::kI16x8, true, false);
    case Opcode::I32X4ExtmulHighI16X8U:
      return product(Shape::kI16x8, false, false);
    case Opcode::I64X2ExtmulLowI32X4S:
      return product(Shape::kI32x4, true, true);
    case Opcode::I64X2ExtmulHighI32X4S:
      return product(Shape::kI32x4, false, true);
    case Opcode::I64X2ExtmulLowI32X4U:
      return product(Shape::kI32x4, true, false);
    case Opcode::I64X2ExtmulHighI32X4U:
      return product(Shape::kI32x4, false, false);

    case Opcode::I32X4DotI16X8S:
      return call(llvm::Intrinsic::x86_sse2_pmadd_wd, Shape::kI16x8);
    case Opcode::I16X8DotI8X16I7X16S: {
      // Both operands are signed, and the sum of two products wraps.
      const auto even = [&](llvm::Value* value) {
        return b().CreateAShr(b().CreateShl(AsLanes(value, Shape::kI16x8), 8),
                              8);
      };
      const auto odd = [&](llvm::Value* value) {
        return b().CreateAShr(AsLanes(value, Shape::kI16x8), 8);
      };
      return b().CreateAdd(b().CreateMul(even(left), even(right)),
                           b().CreateMul(odd(left), odd(right)));
    }
    default:
      return nullptr;
  }
}

bool Translator::SimdShift(Opcode opcode) {
  const Shape shape = ShapeOf(opcode);
  llvm::Instruction::BinaryOps operation = llvm::Instruction::Shl;
  switch (opcode) {
    case Opcode::I8X16Shl:
    case Opcode::I16X8Shl:
    case Opcode::I32X4Shl:
    case Opcode::I64X2Shl:
      break;
    case Opcode::I8X16ShrS:
    case Opcode::I16X8ShrS:
    case Opcode::I32X4ShrS:
    case Opcode::I64X2ShrS:
      operation = llvm::Instruction::AShr;
      break;
    case Opcode::I8X16ShrU:
    case Opcode::I16X8ShrU:
    case Opcode::I32X4ShrU:
    case Opcode::I64X2ShrU:
      operation = llvm::Instruction::LShr;
      break;
    default:
      return false;
  }
  llvm::FixedVectorType* const type = LanesType(shape);
  llvm::Value* const count = b().CreateZExtOrTrunc(
      b().CreateAnd(Pop(), type->getScalarSizeInBits() - 1),
      type->getElementType());
  llvm::Value* const lanes = PopLanes(shape);
  PushLanes(b().CreateBinOp(
      operation, lanes, b().CreateVectorSplat(type->getNumElements(), count)));
  return true;
}

bool Translator::SimdFloatBinary(Opcode opcode) {
  enum class Operation { kAdd, kSub, kMul, kDiv, kMin, kMax };
  Operation operation = Operation::kAdd;
  switch (opcode) {
    case Opcode::F32X4Add:
    case Opcode::F64X2Add:
      break;
    case Opcode::F32X4Sub:
    case Opcode::F64X2Sub:
      operation = Operation::kSub;
      break;
    case Opcode::F32X4Mul:
    case Opcode::F64X2Mul:
      operation = Operation::kMul;
      break;
    case Opcode::F32X4Div:
    case Opcode::F64X2Div:
      operation = Operation::kDiv;
      break;
    case Opcode::F32X4Min:
    case Opcode::F64X2Min:
    case Opcode::F32X4RelaxedMin:
    case Opcode::F64X2RelaxedMin:
      operation = Operation::kMin;
      break;
    case Opcode::F32X4Max:
    case Opcode::F64X2Max:
    case Opcode::F32X4RelaxedMax:
    case Opcode::F64X2RelaxedMax:
      operation = Operation::kMax;
      break;
    default:
      return false;
  }
  const Shape shape = ShapeOf(opcode);
  llvm::Value* const right = Quieted(PopNumbers(shape));
  llvm::Value* const left = Quieted(PopNumbers(shape));
  llvm::Value* result = nullptr;
  // Without canonical NaNs an operator must still quiet a signalling one,
  // which LLVM forgets where it can tell that x op constant is x, and when it
  // selects the operand that is a NaN.
  bool folds =
      llvm::isa<llvm::Constant>(left) || llvm::isa<llvm::Constant>(right);
  switch (operation) {
    case Operation::kAdd:
      result = b().CreateFAdd(left, right);
      break;
    case Operation::kSub:
      result = b().CreateFSub(left, right);
      break;
    case Operation::kMul:
      result = b().CreateFMul(left, right);
      break;
    case Operation::kDiv:
      result = b().CreateFDiv(left, right);
      break;
    case Operation::kMin:
      result = b().CreateBinaryIntrinsic(llvm::Intrinsic::minimum, left, right);
      folds = true;
      break;
    case Operation::kMax:
      result = b().CreateBinaryIntrinsic(llvm::Intrinsic::maximum, left, right);
      folds = true;
      break;
  }
  PushNumbers(result, shape, folds);
  return true;
}

bool Translator::SimdBinary(Opcode opcode) {
  if (opcode.GetPrefix() != kSimdPrefix) return false;
  if (SimdShift(opcode) || SimdFloatBinary(opcode)) return true;
  llvm::Value* const right = Pop();
  llvm::Value* const left = Pop();
  llvm::Value* result = MixedLanes(opcode, left, right);
  if (result == nullptr) {
    const Shape shape = ShapeOf(opcode);
    result = IntLanes(opcode, AsLanes(left, shape), AsLanes(right, shape));
  }
  CALLGATE_CHECK(result != nullptr, "SIMD has no other binary operators");
  PushLanes(result);
  return true;
}

}  // namespace callgate::native
