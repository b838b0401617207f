#include "runtime/native/compiler/function_types.h"

#include <vector>

namespace callgate::native {

llvm::Type* FunctionTypes::Of(ValType type) const {
  switch (type) {
    case ValType::kI32:
      return llvm::Type::getInt32Ty(context_);
    case ValType::kI64:
    case ValType::kExternRef:
      return llvm::Type::getInt64Ty(context_);
    case ValType::kF32:
      return llvm::Type::getFloatTy(context_);
    case ValType::kF64:
      return llvm::Type::getDoubleTy(context_);
    case ValType::kV128:
      return llvm::FixedVectorType::get(llvm::Type::getInt64Ty(context_), 2);
    case ValType::kFuncRef:
      return llvm::PointerType::getUnqual(context_);
  }
  return nullptr;
}

llvm::Type* FunctionTypes::DirectResult(const FuncType& type) const {
  return type.results.size() == 1 ? Of(type.results[0]) : nullptr;
}

llvm::FunctionType* FunctionTypes::Of(const FuncType& type) const {
  llvm::Type* const i64 = llvm::Type::getInt64Ty(context_);
  std::vector<llvm::Type*> params = {llvm::PointerType::getUnqual(context_)};
  if (fuel_) params.push_back(i64);
  for (const ValType param : type.params) params.push_back(Of(param));
  llvm::Type* result = DirectResult(type);
  if (fuel_) {
    result = result == nullptr ? i64 : llvm::StructType::get(i64, result);
  } else if (result == nullptr) {
    result = llvm::Type::getVoidTy(context_);
  }
  return llvm::FunctionType::get(result, params, false);
}

llvm::FunctionType* FunctionTypes::Entry() const {
  llvm::Type* const i64 = llvm::Type::getInt64Ty(context_);
  llvm::Type* const pointer = llvm::PointerType::getUnqual(context_);
  return llvm::FunctionType::get(i64, {pointer, i64, pointer, pointer}, false);
}

llvm::Value* FunctionTypes::FuelOf(llvm::IRBuilder<>& b, const FuncType& type,
                                   llvm::Value* returned) const {
  if (!fuel_) return nullptr;
  return DirectResult(type) == nullptr ? returned
                                       : b.CreateExtractValue(returned, 0);
}

llvm::Value* FunctionTypes::ResultOf(llvm::IRBuilder<>& b, const FuncType& type,
                                     llvm::Value* returned) const {
  if (DirectResult(type) == nullptr) return nullptr;
  return fuel_ ? b.CreateExtractValue(returned, 1) : returned;
}

void FunctionTypes::Return(llvm::IRBuilder<>& b, const FuncType& type,
                           llvm::Value* fuel, llvm::Value* result) const {
  llvm::Type* const direct = DirectResult(type);
  if (!fuel_) {
    if (direct == nullptr) {
      b.CreateRetVoid();
    } else {
      b.CreateRet(result);
    }
    return;
  }
  if (direct == nullptr) {
    b.CreateRet(fuel);
    return;
  }
  llvm::Value* both =
      llvm::PoisonValue::get(llvm::StructType::get(fuel->getType(), direct));
  both = b.CreateInsertValue(both, fuel, 0);
  b.CreateRet(b.CreateInsertValue(both, result, 1));
}

void FunctionTypes::StoreRaw(llvm::IRBuilder<>& b, llvm::Value* value,
                             llvm::Value* pointer) const {
  llvm::Type* const i64 = b.getInt64Ty();
  const llvm::Align align(8);
  if (value->getType()->isVectorTy()) {
    b.CreateAlignedStore(value, pointer, align);
    return;
  }
  if (value->getType()->isPointerTy()) {
    value = b.CreatePtrToInt(value, i64);
  } else if (value->getType()->isFloatTy()) {
    value = b.CreateBitCast(value, b.getInt32Ty());
  } else if (value->getType()->isDoubleTy()) {
    value = b.CreateBitCast(value, i64);
  }
  b.CreateAlignedStore(b.CreateZExt(value, i64), pointer, align);
  b.CreateAlignedStore(b.getInt64(0),
                       b.CreateConstInBoundsGEP1_64(b.getInt8Ty(), pointer, 8),
                       align);
}

llvm::Value* FunctionTypes::LoadRaw(llvm::IRBuilder<>& b, ValType type,
                                    llvm::Value* pointer) const {
  return b.CreateAlignedLoad(Of(type), pointer, llvm::Align(8));
}

void SetFunctionAttributes(llvm::Function& function) {
  function.addFnAttr(llvm::Attribute::NoUnwind);
  function.addFnAttr("frame-pointer", "all");
  // A frame that skips the guard page would reach the next stack.
  function.addFnAttr("probe-stack", "inline-asm");
  function.addFnAttr("no-builtins");
}

}  // namespace callgate::native
