// Locals, globals, references and tables.

#include "runtime/native/compiler/translator.h"

namespace callgate::native {

Translator::Result Translator::OnLocalGetExpr(Index local) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::AllocaInst* const slot = locals_[local];
  Push(b().CreateLoad(slot->getAllocatedType(), slot));
  return Result::Ok;
}

Translator::Result Translator::OnLocalSetExpr(Index local) {
  if (skipping_ || !reachable_) return Result::Ok;
  b().CreateStore(Pop(), locals_[local]);
  return Result::Ok;
}

Translator::Result Translator::OnLocalTeeExpr(Index local) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const value = Pop();
  b().CreateStore(value, locals_[local]);
  Push(value);
  return Result::Ok;
}

Translator::Result Translator::OnGlobalGetExpr(Index global) {
  // Constant expressions are the first pass's.
  if (type_ == nullptr || skipping_ || !reachable_) return Result::Ok;
  Push(b().CreateLoad(LlvmType(info_.globals[global]), GlobalPointer(global)));
  return Result::Ok;
}

Translator::Result Translator::OnGlobalSetExpr(Index global) {
  if (skipping_ || !reachable_) return Result::Ok;
  b().CreateStore(Pop(), GlobalPointer(global));
  return Result::Ok;
}

Translator::Result Translator::OnDropExpr() {
  if (skipping_ || !reachable_) return Result::Ok;
  PopOperand();
  return Result::Ok;
}

Translator::Result Translator::OnSelectExpr(Index, Type*) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const condition = b().CreateICmpNE(Pop(), I32(0));
  Operand right = PopOperand();
  Operand left = PopOperand();
  if (left.arithmetic != right.arithmetic) {
    left = {Canonical(left), Arithmetic::kNone};
    right = {Canonical(right), Arithmetic::kNone};
  }
  Push(b().CreateSelect(condition, left.value, right.value), left.arithmetic);
  return Result::Ok;
}

// ---------------------------------------------------------------- references

Translator::Result Translator::OnRefNullExpr(Type type) {
  if (type_ == nullptr || skipping_ || !reachable_) return Result::Ok;
  if (type == Type::FuncRef) {
    Push(llvm::ConstantPointerNull::get(b().getPtrTy()));
  } else {
    Push(I64(kNullRef));
  }
  return Result::Ok;
}

Translator::Result Translator::OnRefIsNullExpr() {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const ref = Pop();
  llvm::Value* const is_null = ref->getType()->isPointerTy()
                                   ? b().CreateIsNull(ref)
                                   : b().CreateICmpEQ(ref, I64(kNullRef));
  Push(b().CreateZExt(is_null, b().getInt32Ty()));
  return Result::Ok;
}

Translator::Result Translator::OnRefFuncExpr(Index function) {
  if (type_ == nullptr || skipping_ || !reachable_) return Result::Ok;
  Push(CallBuiltin(
      Builtin::kRefFunc,
      llvm::FunctionType::get(b().getPtrTy(),
                              {b().getPtrTy(), b().getInt32Ty()}, false),
      {context_value_, I32(function)}));
  return Result::Ok;
}

// ---------------------------------------------------------------- tables

namespace {

// Table elements travel to the runtime as 64 bits.
llvm::Value* Bits(llvm::IRBuilder<>& b, llvm::Value* ref) {
  return ref->getType()->isPointerTy() ? b.CreatePtrToInt(ref, b.getInt64Ty())
                                       : ref;
}

}  // namespace

Translator::Result Translator::OnTableGetExpr(Index table) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const slot =
      TableSlot(table, Pop(), TrapCode::kTableOutOfBounds);
  Push(b().CreateLoad(LlvmType(info_.tables[table]), slot));
  return Result::Ok;
}

Translator::Result Translator::OnTableSetExpr(Index table) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const value = Pop();
  llvm::Value* const slot =
      TableSlot(table, Pop(), TrapCode::kTableOutOfBounds);
  b().CreateStore(value, slot);
  return Result::Ok;
}

Translator::Result Translator::OnTableSizeExpr(Index table) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const size =
      b().CreateLoad(b().getInt64Ty(),
                     FieldOf(TableDefPointer(table), offsetof(TableDef, size)));
  Push(b().CreateTrunc(size, b().getInt32Ty()));
  return Result::Ok;
}

Translator::Result Translator::OnTableGrowExpr(Index table) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const delta = b().CreateZExt(Pop(), b().getInt64Ty());
  llvm::Value* const value = Bits(b(), Pop());
  llvm::Value* const before =
      CallBuiltinWithFuel(Builtin::kTableGrow, b().getInt64Ty(),
                          {context_value_, I32(table), value, delta});
  Push(b().CreateTrunc(before, b().getInt32Ty()));
  return Result::Ok;
}

Translator::Result Translator::OnTableFillExpr(Index table) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const length = b().CreateZExt(Pop(), b().getInt64Ty());
  llvm::Value* const value = Bits(b(), Pop());
  llvm::Value* const index = b().CreateZExt(Pop(), b().getInt64Ty());
  CallBuiltinWithFuel(Builtin::kTableFill, b().getVoidTy(),
                      {context_value_, I32(table), index, value, length});
  return Result::Ok;
}

Translator::Result Translator::OnTableCopyExpr(Index to, Index from) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const length = b().CreateZExt(Pop(), b().getInt64Ty());
  llvm::Value* const source = b().CreateZExt(Pop(), b().getInt64Ty());
  llvm::Value* const target = b().CreateZExt(Pop(), b().getInt64Ty());
  CallBuiltinWithFuel(
      Builtin::kTableCopy, b().getVoidTy(),
      {context_value_, I32(to), I32(from), target, source, length});
  return Result::Ok;
}

Translator::Result Translator::OnTableInitExpr(Index segment, Index table) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const length = b().CreateZExt(Pop(), b().getInt64Ty());
  llvm::Value* const source = b().CreateZExt(Pop(), b().getInt64Ty());
  llvm::Value* const target = b().CreateZExt(Pop(), b().getInt64Ty());
  CallBuiltinWithFuel(
      Builtin::kTableInit, b().getVoidTy(),
      {context_value_, I32(table), I32(segment), target, source, length});
  return Result::Ok;
}

Translator::Result Translator::OnElemDropExpr(Index segment) {
  if (skipping_ || !reachable_) return Result::Ok;
  CallBuiltinWithFuel(Builtin::kElemDrop, b().getVoidTy(),
                      {context_value_, I32(segment)});
  return Result::Ok;
}

}  // namespace callgate::native
