// SIMD: what v128 is here, and operators with one or three operands, and
// comparisons.
//
// Where one instruction of x86-64-v2 does exactly what an operator asks for,
// it is named by its intrinsic: both levels then emit it, and neither depends
// on LLVM recognising a pattern.
//
// The relaxed operators are deterministic: they have the results of their
// strict counterparts, and madd rounds twice on every processor.

#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "runtime/native/compiler/translator.h"

namespace callgate::native {
namespace {

using wabt::Opcode;

// The predicate of a comparison of lanes.
llvm::CmpInst::Predicate PredicateOf(Opcode opcode) {
  using P = llvm::CmpInst;
  switch (opcode) {
    case Opcode::I8X16Eq:
    case Opcode::I16X8Eq:
    case Opcode::I32X4Eq:
    case Opcode::I64X2Eq:
      return P::ICMP_EQ;
    case Opcode::I8X16Ne:
    case Opcode::I16X8Ne:
    case Opcode::I32X4Ne:
    case Opcode::I64X2Ne:
      return P::ICMP_NE;
    case Opcode::I8X16LtS:
    case Opcode::I16X8LtS:
    case Opcode::I32X4LtS:
    case Opcode::I64X2LtS:
      return P::ICMP_SLT;
    case Opcode::I8X16LtU:
    case Opcode::I16X8LtU:
    case Opcode::I32X4LtU:
      return P::ICMP_ULT;
    case Opcode::I8X16GtS:
    case Opcode::I16X8GtS:
    case Opcode::I32X4GtS:
    case Opcode::I64X2GtS:
      return P::ICMP_SGT;
    case Opcode::I8X16GtU:
    case Opcode::I16X8GtU:
    case Opcode::I32X4GtU:
      return P::ICMP_UGT;
    case Opcode::I8X16LeS:
    case Opcode::I16X8LeS:
    case Opcode::I32X4LeS:
    case Opcode::I64X2LeS:
      return P::ICMP_SLE;
    case Opcode::I8X16LeU:
    case Opcode::I16X8LeU:
    case Opcode::I32X4LeU:
      return P::ICMP_ULE;
    case Opcode::I8X16GeS:
    case Opcode::I16X8GeS:
    case Opcode::I32X4GeS:
    case Opcode::I64X2GeS:
      return P::ICMP_SGE;
    case Opcode::I8X16GeU:
    case Opcode::I16X8GeU:
    case Opcode::I32X4GeU:
      return P::ICMP_UGE;
    case Opcode::F32X4Eq:
    case Opcode::F64X2Eq:
      return P::FCMP_OEQ;
    case Opcode::F32X4Ne:
    case Opcode::F64X2Ne:
      return P::FCMP_UNE;
    case Opcode::F32X4Lt:
    case Opcode::F64X2Lt:
      return P::FCMP_OLT;
    case Opcode::F32X4Gt:
    case Opcode::F64X2Gt:
      return P::FCMP_OGT;
    case Opcode::F32X4Le:
    case Opcode::F64X2Le:
      return P::FCMP_OLE;
    case Opcode::F32X4Ge:
    case Opcode::F64X2Ge:
      return P::FCMP_OGE;
    default:
      return P::BAD_ICMP_PREDICATE;
  }
}

}  // namespace

// ---------------------------------------------------------------- lanes

Translator::Shape Translator::ShapeOf(Opcode opcode) {
  const char* const name = opcode.GetName();
  if (name[0] == 'f') return name[1] == '3' ? Shape::kF32x4 : Shape::kF64x2;
  if (name[0] != 'i') return Shape::kI64x2;
  switch (name[1]) {
    case '8':
      return Shape::kI8x16;
    case '1':
      return Shape::kI16x8;
    case '3':
      return Shape::kI32x4;
    default:
      return Shape::kI64x2;
  }
}

Arithmetic Translator::ArithmeticOf(Shape shape) {
  switch (shape) {
    case Shape::kF32x4:
      return Arithmetic::kF32x4;
    case Shape::kF64x2:
      return Arithmetic::kF64x2;
    default:
      return Arithmetic::kNone;
  }
}

llvm::FixedVectorType* Translator::LanesType(Shape shape) {
  llvm::Type* lane = nullptr;
  switch (shape) {
    case Shape::kI8x16:
      lane = b().getInt8Ty();
      break;
    case Shape::kI16x8:
      lane = b().getInt16Ty();
      break;
    case Shape::kI32x4:
      lane = b().getInt32Ty();
      break;
    case Shape::kI64x2:
      lane = b().getInt64Ty();
      break;
    case Shape::kF32x4:
      lane = b().getFloatTy();
      break;
    case Shape::kF64x2:
      lane = b().getDoubleTy();
      break;
  }
  return llvm::FixedVectorType::get(lane, 128 / lane->getScalarSizeInBits());
}

llvm::Value* Translator::AsLanes(llvm::Value* value, Shape shape) {
  return b().CreateBitCast(value, LanesType(shape));
}

llvm::Value* Translator::PopLanes(Shape shape) { return AsLanes(Pop(), shape); }

llvm::Value* Translator::PopNumbers(Shape shape) {
  return AsLanes(PopNumber(ArithmeticOf(shape)), shape);
}

void Translator::PushLanes(llvm::Value* lanes) {
  Push(AsLanes(lanes, Shape::kI64x2));
}

void Translator::PushNumbers(llvm::Value* lanes, Shape shape, bool folds) {
  llvm::Value* const value = AsLanes(lanes, Shape::kI64x2);
  if (folds && !request_.canonical_nans) {
    Push(Canonical({value, ArithmeticOf(shape)}));
  } else {
    Push(value, Computed(ArithmeticOf(shape)));
  }
}

llvm::Value* Translator::CallIntrinsic(unsigned id,
                                       llvm::ArrayRef<llvm::Value*> args) {
  return b().CreateIntrinsic(static_cast<llvm::Intrinsic::ID>(id), {}, args);
}

llvm::Value* Translator::ExtendHalf(llvm::Value* lanes, bool low,
                                    bool is_signed) {
  const auto* const type = llvm::cast<llvm::FixedVectorType>(lanes->getType());
  const unsigned half = type->getNumElements() / 2;
  llvm::SmallVector<int, 8> which;
  for (unsigned i = 0; i < half; ++i) {
    which.push_back(static_cast<int>(low ? i : half + i));
  }
  llvm::Value* const narrow = b().CreateShuffleVector(lanes, which);
  llvm::Type* const wide = llvm::FixedVectorType::get(
      b().getIntNTy(2 * type->getScalarSizeInBits()), half);
  return is_signed ? b().CreateSExt(narrow, wide)
                   : b().CreateZExt(narrow, wide);
}

llvm::Value* Translator::WithZeroHalf(llvm::Value* lanes) {
  return b().CreateShuffleVector(
      lanes, llvm::Constant::getNullValue(lanes->getType()), {0, 1, 2, 3});
}

// i32 lanes of f32 lanes, or of f64 lanes with zeros above them.
llvm::Value* Translator::TruncateLanes(llvm::Value* lanes, bool is_signed) {
  const auto* const type = llvm::cast<llvm::FixedVectorType>(lanes->getType());
  llvm::Type* const to =
      llvm::FixedVectorType::get(b().getInt32Ty(), type->getNumElements());
  llvm::Value* const result = b().CreateIntrinsic(
      is_signed ? llvm::Intrinsic::fptosi_sat : llvm::Intrinsic::fptoui_sat,
      {to, lanes->getType()}, {lanes});
  return type->getNumElements() == 2 ? WithZeroHalf(result) : result;
}

// ---------------------------------------------------------------- operators

Translator::Result Translator::OnV128ConstExpr(v128 bits) {
  if (type_ == nullptr || skipping_ || !reachable_) return Result::Ok;
  Push(llvm::ConstantVector::get({I64(bits.u64(0)), I64(bits.u64(1))}));
  return Result::Ok;
}

bool Translator::SimdUnary(Opcode opcode) {
  if (opcode.GetPrefix() != kSimdPrefix) return false;
  const Shape shape = ShapeOf(opcode);
  const auto push = [this](llvm::Value* lanes) {
    PushLanes(lanes);
    return true;
  };
  const auto push_bool = [this](llvm::Value* condition) {
    Push(b().CreateZExt(condition, b().getInt32Ty()));
    return true;
  };
  const auto rounded = [&](llvm::Intrinsic::ID id) {
    PushNumbers(b().CreateUnaryIntrinsic(id, PopNumbers(shape)), shape, false);
    return true;
  };
  const auto extended = [&](Shape from, bool low, bool is_signed) {
    return push(ExtendHalf(PopLanes(from), low, is_signed));
  };
  const auto splat = [&](llvm::Value* lane) {
    return push(
        b().CreateVectorSplat(LanesType(shape)->getNumElements(), lane));
  };
  const auto low_half = [&](llvm::Value* lanes) {
    return b().CreateShuffleVector(lanes, {0, 1});
  };
  switch (opcode) {
    case Opcode::I8X16Splat:
    case Opcode::I16X8Splat:
      return splat(b().CreateTrunc(Pop(), LanesType(shape)->getElementType()));
    case Opcode::I32X4Splat:
    case Opcode::I64X2Splat:
    case Opcode::F32X4Splat:
    case Opcode::F64X2Splat:
      return splat(Pop());

    case Opcode::V128Not:
      return push(b().CreateNot(Pop()));
    case Opcode::V128AnyTrue: {
      llvm::Value* const value = Pop();
      return push_bool(b().CreateICmpEQ(
          CallIntrinsic(llvm::Intrinsic::x86_sse41_ptestz, {value, value}),
          I32(0)));
    }
    case Opcode::I8X16AllTrue:
    case Opcode::I16X8AllTrue:
    case Opcode::I32X4AllTrue:
    case Opcode::I64X2AllTrue: {
      llvm::Value* const zeros = AsLanes(
          b().CreateSExt(b().CreateIsNull(PopLanes(shape)), LanesType(shape)),
          Shape::kI64x2);
      Push(CallIntrinsic(llvm::Intrinsic::x86_sse41_ptestz, {zeros, zeros}));
      return true;
    }
    case Opcode::I8X16Bitmask:
      Push(CallIntrinsic(llvm::Intrinsic::x86_sse2_pmovmskb_128,
                         {PopLanes(Shape::kI8x16)}));
      return true;
    case Opcode::I16X8Bitmask: {
      llvm::Value* const lanes = PopLanes(Shape::kI16x8);
      llvm::Value* const signs = CallIntrinsic(
          llvm::Intrinsic::x86_sse2_packsswb_128,
          {lanes, llvm::Constant::getNullValue(lanes->getType())});
      Push(CallIntrinsic(llvm::Intrinsic::x86_sse2_pmovmskb_128, {signs}));
      return true;
    }
    case Opcode::I32X4Bitmask:
      Push(CallIntrinsic(llvm::Intrinsic::x86_sse_movmsk_ps,
                         {PopLanes(Shape::kF32x4)}));
      return true;
    case Opcode::I64X2Bitmask:
      Push(CallIntrinsic(llvm::Intrinsic::x86_sse2_movmsk_pd,
                         {PopLanes(Shape::kF64x2)}));
      return true;

    case Opcode::I8X16Abs:
    case Opcode::I16X8Abs:
    case Opcode::I32X4Abs:
    case Opcode::I64X2Abs:
      // The lowest number stays what it is.
      return push(b().CreateBinaryIntrinsic(llvm::Intrinsic::abs,
                                            PopLanes(shape), b().getFalse()));
    case Opcode::I8X16Neg:
    case Opcode::I16X8Neg:
    case Opcode::I32X4Neg:
    case Opcode::I64X2Neg:
      return push(b().CreateNeg(PopLanes(shape)));
    case Opcode::I8X16Popcnt:
      return push(
          b().CreateUnaryIntrinsic(llvm::Intrinsic::ctpop, PopLanes(shape)));

    case Opcode::I16X8ExtendLowI8X16S:
      return extended(Shape::kI8x16, true, true);
    case Opcode::I16X8ExtendHighI8X16S:
      return extended(Shape::kI8x16, false, true);
    case Opcode::I16X8ExtendLowI8X16U:
      return extended(Shape::kI8x16, true, false);
    case Opcode::I16X8ExtendHighI8X16U:
      return extended(Shape::kI8x16, false, false);
    case Opcode::I32X4ExtendLowI16X8S:
      return extended(Shape::kI16x8, true, true);
    case Opcode::I32X4ExtendHighI16X8S:
      return extended(Shape::kI16x8, false, true);
    case Opcode::I32X4ExtendLowI16X8U:
      return extended(Shape::kI16x8, true, false);
    case Opcode::I32X4ExtendHighI16X8U:
      return extended(Shape::kI16x8, false, false);
    case Opcode::I64X2ExtendLowI32X4S:
      return extended(Shape::kI32x4, true, true);
    case Opcode::I64X2ExtendHighI32X4S:
      return extended(Shape::kI32x4, false, true);
    case Opcode::I64X2ExtendLowI32X4U:
      return extended(Shape::kI32x4, true, false);
    case Opcode::I64X2ExtendHighI32X4U:
      return extended(Shape::kI32x4, false, false);

    // Sums of two products with 1, none of which can saturate. The first
    // operand of pmaddubsw is the unsigned one.
    case Opcode::I16X8ExtaddPairwiseI8X16S:
      return push(
          CallIntrinsic(llvm::Intrinsic::x86_ssse3_pmadd_ub_sw_128,
                        {llvm::ConstantInt::get(LanesType(Shape::kI8x16), 1),
                         PopLanes(Shape::kI8x16)}));
    case Opcode::I16X8ExtaddPairwiseI8X16U:
      return push(
          CallIntrinsic(llvm::Intrinsic::x86_ssse3_pmadd_ub_sw_128,
                        {PopLanes(Shape::kI8x16),
                         llvm::ConstantInt::get(LanesType(Shape::kI8x16), 1)}));
    case Opcode::I32X4ExtaddPairwiseI16X8S:
      return push(
          CallIntrinsic(llvm::Intrinsic::x86_sse2_pmadd_wd,
                        {PopLanes(Shape::kI16x8),
                         llvm::ConstantInt::get(LanesType(Shape::kI16x8), 1)}));
    case Opcode::I32X4ExtaddPairwiseI16X8U: {
      llvm::Value* const pairs = PopLanes(Shape::kI32x4);
      return push(b().CreateAdd(b().CreateAnd(pairs, 0xffff),
                                b().CreateLShr(pairs, 16)));
    }

    // These two are about bits: the sign of a NaN shows.
    case Opcode::F32X4Abs:
    case Opcode::F64X2Abs:
      return push(
          b().CreateUnaryIntrinsic(llvm::Intrinsic::fabs, PopLanes(shape)));
    case Opcode::F32X4Neg:
    case Opcode::F64X2Neg:
      return push(b().CreateFNeg(PopLanes(shape)));
    case Opcode::F32X4Ceil:
    case Opcode::F64X2Ceil:
      return rounded(llvm::Intrinsic::ceil);
    case Opcode::F32X4Floor:
    case Opcode::F64X2Floor:
      return rounded(llvm::Intrinsic::floor);
    case Opcode::F32X4Trunc:
    case Opcode::F64X2Trunc:
      return rounded(llvm::Intrinsic::trunc);
    case Opcode::F32X4Nearest:
    case Opcode::F64X2Nearest:
      return rounded(llvm::Intrinsic::roundeven);
    case Opcode::F32X4Sqrt:
    case Opcode::F64X2Sqrt:
      return rounded(llvm::Intrinsic::sqrt);

    case Opcode::I32X4TruncSatF32X4S:
    case Opcode::I32X4RelaxedTruncF32X4S:
      return push(TruncateLanes(PopNumbers(Shape::kF32x4), true));
    case Opcode::I32X4TruncSatF32X4U:
    case Opcode::I32X4RelaxedTruncF32X4U:
      return push(TruncateLanes(PopNumbers(Shape::kF32x4), false));
    case Opcode::I32X4TruncSatF64X2SZero:
    case Opcode::I32X4RelaxedTruncF64X2SZero:
      return push(TruncateLanes(PopNumbers(Shape::kF64x2), true));
    case Opcode::I32X4TruncSatF64X2UZero:
    case Opcode::I32X4RelaxedTruncF64X2UZero:
      return push(TruncateLanes(PopNumbers(Shape::kF64x2), false));

    case Opcode::F32X4ConvertI32X4S:
      return push(b().CreateSIToFP(PopLanes(Shape::kI32x4), LanesType(shape)));
    case Opcode::F32X4ConvertI32X4U:
      return push(b().CreateUIToFP(PopLanes(Shape::kI32x4), LanesType(shape)));
    case Opcode::F64X2ConvertLowI32X4S:
      return push(b().CreateSIToFP(low_half(PopLanes(Shape::kI32x4)),
                                   LanesType(shape)));
    case Opcode::F64X2ConvertLowI32X4U:
      return push(b().CreateUIToFP(low_half(PopLanes(Shape::kI32x4)),
                                   LanesType(shape)));
    case Opcode::F64X2PromoteLowF32X4:
      PushNumbers(b().CreateFPExt(low_half(PopNumbers(Shape::kF32x4)),
                                  LanesType(shape)),
                  shape, false);
      return true;
    case Opcode::F32X4DemoteF64X2Zero:
      // The demotion of a promotion folds.
      PushNumbers(WithZeroHalf(b().CreateFPTrunc(
                      PopNumbers(Shape::kF64x2),
                      llvm::FixedVectorType::get(b().getFloatTy(), 2))),
                  shape, true);
      return true;
    default:
      return false;
  }
}

bool Translator::SimdCompare(Opcode opcode) {
  if (opcode.GetPrefix() != kSimdPrefix) return false;
  const llvm::CmpInst::Predicate predicate = PredicateOf(opcode);
  if (predicate == llvm::CmpInst::BAD_ICMP_PREDICATE) return false;
  const Shape shape = ShapeOf(opcode);
  // Any NaN compares like any other.
  llvm::Value* const right = PopNumbers(shape);
  llvm::Value* const left = PopNumbers(shape);
  PushLanes(b().CreateSExt(b().CreateCmp(predicate, left, right),
                           llvm::VectorType::getInteger(LanesType(shape))));
  return true;
}

Translator::Result Translator::OnTernaryExpr(Opcode opcode) {
  if (skipping_ || !reachable_) return Result::Ok;
  switch (opcode) {
    case Opcode::V128BitSelect:
    case Opcode::I8X16RelaxedLaneSelect:
    case Opcode::I16X8RelaxedLaneSelect:
    case Opcode::I32X4RelaxedLaneSelect:
    case Opcode::I64X2RelaxedLaneSelect: {
      llvm::Value* const mask = Pop();
      llvm::Value* const right = Pop();
      llvm::Value* const left = Pop();
      Push(b().CreateOr(b().CreateAnd(left, mask),
                        b().CreateAnd(right, b().CreateNot(mask))));
      return Result::Ok;
    }
    case Opcode::F32X4RelaxedMadd:
    case Opcode::F64X2RelaxedMadd:
    case Opcode::F32X4RelaxedNmadd:
    case Opcode::F64X2RelaxedNmadd: {
      const Shape shape = ShapeOf(opcode);
      llvm::Value* const addend = PopNumbers(shape);
      llvm::Value* const right = PopNumbers(shape);
      llvm::Value* const left = PopNumbers(shape);
      // Without fast-math flags these are never fused.
      llvm::Value* const product = b().CreateFMul(left, right);
      const bool negated = opcode == Opcode::F32X4RelaxedNmadd ||
                           opcode == Opcode::F64X2RelaxedNmadd;
      PushNumbers(negated ? b().CreateFSub(addend, product)
                          : b().CreateFAdd(product, addend),
                  shape,
                  llvm::isa<llvm::Constant>(left) ||
                      llvm::isa<llvm::Constant>(right) ||
                      llvm::isa<llvm::Constant>(addend));
      return Result::Ok;
    }
    case Opcode::I32X4DotI8X16I7X16AddS: {
      // The reference engine takes the operands as lanes of 16 bits, and what
      // it answers is what both engines answer.
      llvm::Value* const addend = PopLanes(Shape::kI32x4);
      llvm::Value* const right = PopLanes(Shape::kI16x8);
      llvm::Value* const left = PopLanes(Shape::kI16x8);
      PushLanes(b().CreateAdd(
          CallIntrinsic(llvm::Intrinsic::x86_sse2_pmadd_wd, {left, right}),
          addend));
      return Result::Ok;
    }
    default:
      return Unsupported(opcode);
  }
}

}  // namespace callgate::native
