// Loads, stores and what else touches linear memory.

#include "llvm/IR/Intrinsics.h"
#include "runtime/native/compiler/translator.h"

namespace callgate::native {

llvm::Value* Translator::PopIndex(Index memory) {
  llvm::Value* const index = Pop();
  return info_.memory_is_64[memory] ? index
                                    : b().CreateZExt(index, b().getInt64Ty());
}

llvm::Value* Translator::CheckedAddress(Index memory, uint64_t offset,
                                        uint64_t bytes) {
  llvm::Value* index = PopIndex(memory);
  llvm::Value* const base = MemoryBase(memory);
  llvm::Value* const length = MemoryLength(memory);
  if (!info_.memory_is_64[memory]) {
    // At most 2^32 + 2^32 + 16: the sum does not wrap, and what a processor
    // reads ahead of the check stays inside this memory's own address space.
    llvm::Value* const end = b().CreateAdd(index, I64(offset + bytes));
    const auto* const known = llvm::dyn_cast<llvm::ConstantInt>(end);
    if (known == nullptr || known->getZExtValue() > MemoryBytesMin(memory)) {
      TrapIf(b().CreateICmpUGT(end, length), TrapCode::kMemoryOutOfBounds);
    }
  } else {
    if (offset > ~uint64_t{0} - bytes) {
      TrapIf(b().getTrue(), TrapCode::kMemoryOutOfBounds);
      offset = 0;
    }
    llvm::Value* const end = b().CreateAdd(index, I64(offset + bytes));
    llvm::Value* const wrapped = b().CreateICmpULT(end, index);
    TrapIf(b().CreateOr(wrapped, b().CreateICmpUGT(end, length)),
           TrapCode::kMemoryOutOfBounds);
    index = b().CreateAdd(index, I64(offset));
    llvm::Value* const mask =
        SpeculationMask(b().CreateSub(end, I64(1)), length);
    return b().CreateGEP(b().getInt8Ty(), base, b().CreateAnd(index, mask));
  }
  llvm::Value* const address = b().CreateGEP(b().getInt8Ty(), base, index);
  return offset == 0 ? address
                     : b().CreateGEP(b().getInt8Ty(), address, I64(offset));
}

namespace {

// How many bits a load or store moves, and how a load widens them.
struct Access {
  unsigned bits = 0;  // 0: the whole value
  bool is_signed = false;
};

Access AccessOf(wabt::Opcode opcode) {
  switch (opcode) {
    case wabt::Opcode::I32Load8S:
    case wabt::Opcode::I64Load8S:
      return {8, true};
    case wabt::Opcode::I32Load16S:
    case wabt::Opcode::I64Load16S:
      return {16, true};
    case wabt::Opcode::I64Load32S:
      return {32, true};
    case wabt::Opcode::I32Load8U:
    case wabt::Opcode::I64Load8U:
    case wabt::Opcode::I32Store8:
    case wabt::Opcode::I64Store8:
      return {8, false};
    case wabt::Opcode::I32Load16U:
    case wabt::Opcode::I64Load16U:
    case wabt::Opcode::I32Store16:
    case wabt::Opcode::I64Store16:
      return {16, false};
    case wabt::Opcode::I64Load32U:
    case wabt::Opcode::I64Store32:
      return {32, false};
    default:
      return {};
  }
}

}  // namespace

Translator::Result Translator::OnLoadExpr(Opcode opcode, Index memory, Address,
                                          Address offset) {
  if (skipping_ || !reachable_) return Result::Ok;
  if (SimdLoad(opcode, memory, offset)) return Result::Ok;
  ValType type = ValType::kI32;
  switch (opcode.GetResultType()) {
    case Type::I64:
      type = ValType::kI64;
      break;
    case Type::F32:
      type = ValType::kF32;
      break;
    case Type::F64:
      type = ValType::kF64;
      break;
    case Type::V128:
      type = ValType::kV128;
      break;
    default:
      break;
  }
  llvm::Value* const address =
      CheckedAddress(memory, offset, opcode.GetMemorySize());
  const Access access = AccessOf(opcode);
  llvm::Type* const full = LlvmType(type);
  llvm::Type* const loaded =
      access.bits == 0 ? full : b().getIntNTy(access.bits);
  llvm::Value* value = b().CreateAlignedLoad(loaded, address, llvm::Align(1));
  if (access.bits != 0) {
    value = access.is_signed ? b().CreateSExt(value, full)
                             : b().CreateZExt(value, full);
  }
  Push(value);
  return Result::Ok;
}

Translator::Result Translator::OnStoreExpr(Opcode opcode, Index memory, Address,
                                           Address offset) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* value = Pop();
  llvm::Value* const address =
      CheckedAddress(memory, offset, opcode.GetMemorySize());
  const Access access = AccessOf(opcode);
  if (access.bits != 0) {
    value = b().CreateTrunc(value, b().getIntNTy(access.bits));
  }
  b().CreateAlignedStore(value, address, llvm::Align(1));
  return Result::Ok;
}

Translator::Result Translator::OnMemorySizeExpr(Index memory) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const pages = b().CreateLShr(MemoryLength(memory), 16);
  Push(info_.memory_is_64[memory] ? pages
                                  : b().CreateTrunc(pages, b().getInt32Ty()));
  return Result::Ok;
}

Translator::Result Translator::OnMemoryGrowExpr(Index memory) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const delta = PopIndex(memory);
  llvm::Value* const before =
      CallBuiltinWithFuel(Builtin::kMemoryGrow, b().getInt64Ty(),
                          {context_value_, I32(memory), delta});
  ForgetMemoryLength();
  Push(info_.memory_is_64[memory] ? before
                                  : b().CreateTrunc(before, b().getInt32Ty()));
  return Result::Ok;
}

// wabt's header calls these source and destination, in this order; its reader
// hands over the immediates as they stand in the code, destination first.
Translator::Result Translator::OnMemoryCopyExpr(Index to, Index from) {
  if (skipping_ || !reachable_) return Result::Ok;
  // The length is as wide as the narrower of the two memories.
  llvm::Value* const length = b().CreateZExtOrBitCast(Pop(), b().getInt64Ty());
  llvm::Value* const source = PopIndex(from);
  llvm::Value* const target = PopIndex(to);
  CallBuiltinWithFuel(
      Builtin::kMemoryCopy, b().getVoidTy(),
      {context_value_, I32(to), I32(from), target, source, length});
  return Result::Ok;
}

Translator::Result Translator::OnMemoryFillExpr(Index memory) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const length = PopIndex(memory);
  llvm::Value* const value = Pop();
  llvm::Value* const target = PopIndex(memory);
  CallBuiltinWithFuel(Builtin::kMemoryFill, b().getVoidTy(),
                      {context_value_, I32(memory), target, value, length});
  return Result::Ok;
}

Translator::Result Translator::OnMemoryInitExpr(Index segment, Index memory) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const length = b().CreateZExt(Pop(), b().getInt64Ty());
  llvm::Value* const source = b().CreateZExt(Pop(), b().getInt64Ty());
  llvm::Value* const target = PopIndex(memory);
  CallBuiltinWithFuel(
      Builtin::kMemoryInit, b().getVoidTy(),
      {context_value_, I32(memory), I32(segment), target, source, length});
  return Result::Ok;
}

Translator::Result Translator::OnDataDropExpr(Index segment) {
  if (skipping_ || !reachable_) return Result::Ok;
  CallBuiltin(Builtin::kDataDrop,
              llvm::FunctionType::get(
                  b().getVoidTy(), {b().getPtrTy(), b().getInt32Ty()}, false),
              {context_value_, I32(segment)});
  return Result::Ok;
}

}  // namespace callgate::native
