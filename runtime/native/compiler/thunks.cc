#include "runtime/native/compiler/thunks.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "llvm/IR/Intrinsics.h"
#include "runtime/native/abi.h"

namespace callgate::native {
namespace {

llvm::Value* Field(llvm::IRBuilder<>& b, llvm::Value* base, uint64_t offset) {
  if (offset == 0) return base;
  return b.CreateConstInBoundsGEP1_64(b.getInt8Ty(), base, offset);
}

llvm::Function* Define(llvm::FunctionType* type, const std::string& name,
                       llvm::Module& module) {
  llvm::Function* function = module.getFunction(name);
  if (function == nullptr) {
    function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage,
                                      name, module);
  }
  function->setVisibility(llvm::GlobalValue::HiddenVisibility);
  function->setDSOLocal(true);
  SetFunctionAttributes(*function);
  return function;
}

llvm::Value* Store(llvm::IRBuilder<>& b, llvm::Value* context) {
  return b.CreateLoad(b.getPtrTy(),
                      Field(b, context, offsetof(ContextHeader, store)));
}

}  // namespace

void WriteEntryTrampoline(const FunctionTypes& types, const FuncType& type,
                          uint32_t index, llvm::Module& module) {
  llvm::Function* const function =
      Define(types.Entry(), absl::StrCat("e", index), module);
  llvm::IRBuilder<> b(
      llvm::BasicBlock::Create(module.getContext(), "entry", function));
  llvm::Value* const context = function->getArg(0);
  llvm::Value* const fuel = function->getArg(1);
  llvm::Value* const values = function->getArg(3);
  std::vector<llvm::Value*> args = {context};
  if (types.fuel()) args.push_back(fuel);
  for (size_t i = 0; i < type.params.size(); ++i) {
    args.push_back(types.LoadRaw(b, type.params[i],
                                 Field(b, values, i * sizeof(RawValue))));
  }
  llvm::Value* const returned =
      b.CreateCall(types.Of(type), function->getArg(2), args);
  if (llvm::Value* const result = types.ResultOf(b, type, returned)) {
    types.StoreRaw(
        b, result,
        b.CreateLoad(b.getPtrTy(), Field(b, Store(b, context),
                                         offsetof(StoreContext, values))));
  }
  b.CreateRet(types.fuel() ? types.FuelOf(b, type, returned) : fuel);
}

void WriteHostThunk(const FunctionTypes& types, const FuncType& type,
                    uint32_t index, llvm::Module& module) {
  llvm::Function* const function =
      Define(types.Of(type), absl::StrCat("t", index), module);
  llvm::IRBuilder<> b(
      llvm::BasicBlock::Create(module.getContext(), "entry", function));
  llvm::Value* const context = function->getArg(0);
  llvm::Value* const store = Store(b, context);
  const size_t slots =
      std::max<size_t>({type.params.size(), type.results.size(), 1});
  llvm::AllocaInst* const values = b.CreateAlloca(
      llvm::ArrayType::get(b.getInt64Ty(), slots * sizeof(RawValue) / 8));
  values->setAlignment(llvm::Align(16));
  for (size_t i = 0; i < type.params.size(); ++i) {
    types.StoreRaw(
        b, function->getArg(types.FirstParam() + static_cast<unsigned>(i)),
        Field(b, values, i * sizeof(RawValue)));
  }
  llvm::Value* const fuel_field = Field(b, store, offsetof(StoreContext, fuel));
  if (types.fuel()) b.CreateStore(function->getArg(1), fuel_field);
  llvm::Value* const frame = b.CreateIntrinsic(llvm::Intrinsic::frameaddress,
                                               {b.getPtrTy()}, {b.getInt32(0)});
  llvm::Value* const enter = b.CreateLoad(
      b.getPtrTy(), Field(b, context, offsetof(HostContext, enter)));
  b.CreateCall(
      llvm::FunctionType::get(
          b.getVoidTy(), {b.getPtrTy(), b.getPtrTy(), b.getPtrTy()}, false),
      enter, {context, frame, values});
  llvm::Value* result = nullptr;
  if (type.results.size() == 1) {
    result = types.LoadRaw(b, type.results[0], values);
  } else if (!type.results.empty()) {
    llvm::Value* const out = b.CreateLoad(
        b.getPtrTy(), Field(b, store, offsetof(StoreContext, values)));
    for (size_t i = 0; i < type.results.size(); ++i) {
      types.StoreRaw(b,
                     types.LoadRaw(b, type.results[i],
                                   Field(b, values, i * sizeof(RawValue))),
                     Field(b, out, i * sizeof(RawValue)));
    }
  }
  types.Return(
      b, type,
      types.fuel() ? b.CreateLoad(b.getInt64Ty(), fuel_field) : nullptr,
      result);
}

void WriteProbeWrapper(const FunctionTypes& types, const FuncType& type,
                       uint32_t index, llvm::Module& module) {
  llvm::FunctionType* const plain = types.Of(type);
  llvm::Type* const pointer = llvm::PointerType::getUnqual(module.getContext());
  std::vector<llvm::Type*> params = {pointer};
  params.insert(params.end(), plain->param_begin(), plain->param_end());
  llvm::Function* const function =
      Define(llvm::FunctionType::get(plain->getReturnType(), params, false),
             absl::StrCat("p", index), module);
  // The static chain: r10, which no other argument uses.
  function->addParamAttr(0, llvm::Attribute::Nest);
  llvm::IRBuilder<> b(
      llvm::BasicBlock::Create(module.getContext(), "entry", function));
  llvm::Value* const probe = function->getArg(0);
  llvm::Value* const context = function->getArg(1);
  llvm::Value* const store = Store(b, context);
  llvm::Value* const fuel_field = Field(b, store, offsetof(StoreContext, fuel));
  const unsigned first_param = 1 + types.FirstParam();
  const size_t slots = std::max<size_t>(type.params.size(), 1);
  llvm::AllocaInst* const values = b.CreateAlloca(
      llvm::ArrayType::get(b.getInt64Ty(), slots * sizeof(RawValue) / 8));
  values->setAlignment(llvm::Align(16));
  for (size_t i = 0; i < type.params.size(); ++i) {
    types.StoreRaw(b, function->getArg(first_param + static_cast<unsigned>(i)),
                   Field(b, values, i * sizeof(RawValue)));
  }
  llvm::Value* const frame = b.CreateIntrinsic(llvm::Intrinsic::frameaddress,
                                               {b.getPtrTy()}, {b.getInt32(0)});
  if (types.fuel()) b.CreateStore(function->getArg(2), fuel_field);
  b.CreateCall(
      llvm::FunctionType::get(b.getVoidTy(),
                              {pointer, pointer, pointer, pointer}, false),
      b.CreateLoad(pointer, Field(b, probe, offsetof(ProbeContext, enter))),
      {probe, context, frame, values});
  std::vector<llvm::Value*> args = {context};
  if (types.fuel()) args.push_back(b.CreateLoad(b.getInt64Ty(), fuel_field));
  for (unsigned i = first_param; i < function->arg_size(); ++i) {
    args.push_back(function->getArg(i));
  }
  llvm::Value* const returned = b.CreateCall(
      plain,
      b.CreateLoad(pointer, Field(b, probe, offsetof(ProbeContext, code))),
      args);
  if (types.fuel()) {
    b.CreateStore(types.FuelOf(b, type, returned), fuel_field);
  }
  b.CreateCall(
      llvm::FunctionType::get(b.getVoidTy(), {pointer, pointer, pointer},
                              false),
      b.CreateLoad(pointer, Field(b, probe, offsetof(ProbeContext, leave))),
      {probe, context, frame});
  types.Return(
      b, type,
      types.fuel() ? b.CreateLoad(b.getInt64Ty(), fuel_field) : nullptr,
      types.ResultOf(b, type, returned));
}

}  // namespace callgate::native
