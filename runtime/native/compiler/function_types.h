// How WebAssembly types and function types look in LLVM, after abi.h's calling
// convention. Runs in the compile worker only.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_FUNCTION_TYPES_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_FUNCTION_TYPES_H_

#include "llvm/IR/DIBuilder.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "runtime/value.h"

namespace callgate::native {

class FunctionTypes {
 public:
  FunctionTypes(llvm::LLVMContext& context, bool fuel)
      : context_(context), fuel_(fuel) {}

  bool fuel() const { return fuel_; }
  llvm::Type* Of(ValType type) const;
  llvm::FunctionType* Of(const FuncType& type) const;
  // Of an entry trampoline.
  llvm::FunctionType* Entry() const;
  // What a function of that type returns in registers: its only result, or
  // null when it has none or several.
  llvm::Type* DirectResult(const FuncType& type) const;
  // The parameter with the first WebAssembly parameter.
  unsigned FirstParam() const { return fuel_ ? 2 : 1; }

  // Takes a call's value apart.
  llvm::Value* FuelOf(llvm::IRBuilder<>& b, const FuncType& type,
                      llvm::Value* returned) const;
  llvm::Value* ResultOf(llvm::IRBuilder<>& b, const FuncType& type,
                        llvm::Value* returned) const;
  // Returns; `result` may be null when there is no direct result, `fuel` when
  // fuel is not metered.
  void Return(llvm::IRBuilder<>& b, const FuncType& type, llvm::Value* fuel,
              llvm::Value* result) const;

  // As a RawValue, whose every byte is written.
  void StoreRaw(llvm::IRBuilder<>& b, llvm::Value* value,
                llvm::Value* pointer) const;
  llvm::Value* LoadRaw(llvm::IRBuilder<>& b, ValType type,
                       llvm::Value* pointer) const;

 private:
  llvm::LLVMContext& context_;
  const bool fuel_;
};

// What every function of the object has.
void SetFunctionAttributes(llvm::Function& function);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_FUNCTION_TYPES_H_
