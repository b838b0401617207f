// SIMD: single lanes, the order of lanes, and memory.

#include "runtime/native/compiler/translator.h"

namespace callgate::native {

Translator::Result Translator::OnSimdLaneOpExpr(Opcode opcode, uint64_t lane) {
  if (skipping_ || !reachable_) return Result::Ok;
  const Shape shape = ShapeOf(opcode);
  llvm::Type* const i32 = b().getInt32Ty();
  switch (opcode) {
    case Opcode::I8X16ExtractLaneS:
    case Opcode::I16X8ExtractLaneS:
      Push(
          b().CreateSExt(b().CreateExtractElement(PopLanes(shape), lane), i32));
      return Result::Ok;
    case Opcode::I8X16ExtractLaneU:
    case Opcode::I16X8ExtractLaneU:
      Push(
          b().CreateZExt(b().CreateExtractElement(PopLanes(shape), lane), i32));
      return Result::Ok;
    case Opcode::I32X4ExtractLane:
    case Opcode::I64X2ExtractLane:
    case Opcode::F32X4ExtractLane:
    case Opcode::F64X2ExtractLane:
      Push(b().CreateExtractElement(PopLanes(shape), lane));
      return Result::Ok;
    case Opcode::I8X16ReplaceLane:
    case Opcode::I16X8ReplaceLane: {
      llvm::Value* const value =
          b().CreateTrunc(Pop(), LanesType(shape)->getElementType());
      PushLanes(b().CreateInsertElement(PopLanes(shape), value, lane));
      return Result::Ok;
    }
    case Opcode::I32X4ReplaceLane:
    case Opcode::I64X2ReplaceLane:
    case Opcode::F32X4ReplaceLane:
    case Opcode::F64X2ReplaceLane: {
      llvm::Value* const value = Pop();
      PushLanes(b().CreateInsertElement(PopLanes(shape), value, lane));
      return Result::Ok;
    }
    default:
      return Unsupported(opcode);
  }
}

Translator::Result Translator::OnSimdShuffleOpExpr(Opcode, v128 lanes) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::SmallVector<int, 16> which;
  for (int i = 0; i < 16; ++i) which.push_back(lanes.u8(i));
  llvm::Value* const right = PopLanes(Shape::kI8x16);
  llvm::Value* const left = PopLanes(Shape::kI8x16);
  PushLanes(b().CreateShuffleVector(left, right, which));
  return Result::Ok;
}

bool Translator::SimdLoad(Opcode opcode, Index memory, Address offset) {
  unsigned bits = 0;
  bool is_signed = false;
  switch (opcode) {
    case Opcode::V128Load8X8S:
      bits = 8;
      is_signed = true;
      break;
    case Opcode::V128Load8X8U:
      bits = 8;
      break;
    case Opcode::V128Load16X4S:
      bits = 16;
      is_signed = true;
      break;
    case Opcode::V128Load16X4U:
      bits = 16;
      break;
    case Opcode::V128Load32X2S:
      bits = 32;
      is_signed = true;
      break;
    case Opcode::V128Load32X2U:
      bits = 32;
      break;
    default:
      return false;
  }
  const unsigned count = 64 / bits;
  llvm::Type* const narrow =
      llvm::FixedVectorType::get(b().getIntNTy(bits), count);
  llvm::Type* const wide =
      llvm::FixedVectorType::get(b().getIntNTy(2 * bits), count);
  llvm::Value* const address = CheckedAddress(memory, offset, 8);
  llvm::Value* const lanes =
      b().CreateAlignedLoad(narrow, address, llvm::Align(1));
  PushLanes(is_signed ? b().CreateSExt(lanes, wide)
                      : b().CreateZExt(lanes, wide));
  return true;
}

// What is loaded and stored is moved as integers, whose bits are exact. The
// size of the access is the size of a lane.

Translator::Shape Translator::ShapeInMemory(Opcode opcode) {
  switch (opcode.GetMemorySize()) {
    case 1:
      return Shape::kI8x16;
    case 2:
      return Shape::kI16x8;
    case 4:
      return Shape::kI32x4;
    default:
      return Shape::kI64x2;
  }
}

llvm::Value* Translator::LoadLane(Opcode opcode, Index memory, Address offset) {
  llvm::Value* const address =
      CheckedAddress(memory, offset, opcode.GetMemorySize());
  return b().CreateAlignedLoad(
      LanesType(ShapeInMemory(opcode))->getElementType(), address,
      llvm::Align(1));
}

Translator::Result Translator::OnLoadSplatExpr(Opcode opcode, Index memory,
                                               Address, Address offset) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const lane = LoadLane(opcode, memory, offset);
  PushLanes(b().CreateVectorSplat(
      LanesType(ShapeInMemory(opcode))->getNumElements(), lane));
  return Result::Ok;
}

Translator::Result Translator::OnLoadZeroExpr(Opcode opcode, Index memory,
                                              Address, Address offset) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const lane = LoadLane(opcode, memory, offset);
  PushLanes(b().CreateInsertElement(
      llvm::Constant::getNullValue(LanesType(ShapeInMemory(opcode))), lane,
      uint64_t{0}));
  return Result::Ok;
}

Translator::Result Translator::OnSimdLoadLaneExpr(Opcode opcode, Index memory,
                                                  Address, Address offset,
                                                  uint64_t lane) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const lanes = PopLanes(ShapeInMemory(opcode));
  llvm::Value* const loaded = LoadLane(opcode, memory, offset);
  PushLanes(b().CreateInsertElement(lanes, loaded, lane));
  return Result::Ok;
}

Translator::Result Translator::OnSimdStoreLaneExpr(Opcode opcode, Index memory,
                                                   Address, Address offset,
                                                   uint64_t lane) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const lanes = PopLanes(ShapeInMemory(opcode));
  llvm::Value* const address =
      CheckedAddress(memory, offset, opcode.GetMemorySize());
  b().CreateAlignedStore(b().CreateExtractElement(lanes, lane), address,
                         llvm::Align(1));
  return Result::Ok;
}

}  // namespace callgate::native
