// Calls, tail calls, and how results come back.

#include "absl/strings/str_cat.h"
#include "llvm/IR/Intrinsics.h"
#include "runtime/native/compiler/translator.h"

namespace callgate::native {

Translator::Callee Translator::DirectCallee(uint32_t function) {
  Callee callee;
  callee.type = info_.functions[function];
  if (function < info_.imported_functions) {
    const uint64_t import =
        layout_.imports + uint64_t{function} * sizeof(FuncImport);
    // An import is rebound only while nothing runs.
    callee.code =
        ContextField(import + offsetof(FuncImport, code), b().getPtrTy());
    callee.context =
        ContextField(import + offsetof(FuncImport, context), b().getPtrTy());
    return callee;
  }
  callee.code = FunctionAddress(function, false);
  callee.context = context_value_;
  return callee;
}

llvm::Value* Translator::TableSlot(Index table, llvm::Value* index,
                                   TrapCode trap) {
  llvm::Value* const def = TableDefPointer(table);
  llvm::Value* const size =
      b().CreateLoad(b().getInt64Ty(), FieldOf(def, offsetof(TableDef, size)));
  llvm::Value* wide = b().CreateZExt(index, b().getInt64Ty());
  TrapIf(b().CreateICmpUGE(wide, size), trap);
  wide = b().CreateAnd(wide, SpeculationMask(wide, size));
  llvm::Value* const elements = b().CreateLoad(
      b().getPtrTy(), FieldOf(def, offsetof(TableDef, elements)));
  return b().CreateInBoundsGEP(b().getInt64Ty(), elements, wide);
}

Translator::Callee Translator::IndirectCallee(uint32_t type, Index table,
                                              bool tail) {
  Callee callee;
  callee.type = type;
  llvm::Value* const slot =
      TableSlot(table, Pop(), TrapCode::kUndefinedElement);
  llvm::Value* const record = b().CreateLoad(b().getPtrTy(), slot);
  TrapIf(b().CreateIsNull(record), TrapCode::kUninitializedElement);
  llvm::Value* const ids =
      ContextField(offsetof(InstanceContext, type_ids), b().getPtrTy());
  llvm::Value* const wanted =
      LoadConst(b().getInt32Ty(), FieldOf(ids, uint64_t{type} * 4));
  llvm::Value* const actual = b().CreateLoad(
      b().getInt32Ty(), FieldOf(record, offsetof(FuncRecord, type_id)));
  TrapIf(b().CreateICmpNE(actual, wanted), TrapCode::kIndirectCallTypeMismatch);
  callee.code = b().CreateLoad(
      b().getPtrTy(), FieldOf(record, tail ? offsetof(FuncRecord, tail_code)
                                           : offsetof(FuncRecord, code)));
  callee.context = b().CreateLoad(
      b().getPtrTy(), FieldOf(record, offsetof(FuncRecord, context)));
  return callee;
}

void Translator::PushResults(const FuncType& type, llvm::Value* direct) {
  if (direct != nullptr) {
    Push(direct);
    return;
  }
  if (type.results.empty()) return;
  llvm::Value* const values = b().CreateLoad(
      b().getPtrTy(), StoreField(offsetof(StoreContext, values)));
  for (size_t i = 0; i < type.results.size(); ++i) {
    Push(types_.LoadRaw(b(), type.results[i],
                        FieldOf(values, i * sizeof(RawValue))));
  }
}

void Translator::EmitCall(const Callee& callee) {
  const FuncType& type = info_.types[callee.type];
  std::vector<llvm::Value*> args = PopMany(type.params.size());
  ChargeFuel();
  if (EnclosingTry(frames_.size()) != nullptr) {
    EmitCatchingCall(callee, args);
    return;
  }
  std::vector<llvm::Value*> all = {callee.context};
  if (request_.fuel) all.push_back(FuelNow());
  all.insert(all.end(), args.begin(), args.end());
  llvm::CallInst* const call =
      b().CreateCall(types_.Of(type), callee.code, all);
  SetCallLocation(call);
  if (request_.fuel) b().CreateStore(types_.FuelOf(b(), type, call), fuel_);
  ForgetMemoryLength();
  PushResults(type, types_.ResultOf(b(), type, call));
}

// The callee runs when this body has returned to the loop around it: see
// WriteTailCallLoop.
void Translator::EmitTailCall(const Callee& callee) {
  const FuncType& type = info_.types[callee.type];
  const std::vector<llvm::Value*> args = PopMany(type.params.size());
  ChargeFuel();
  llvm::Value* const values = b().CreateLoad(
      b().getPtrTy(), StoreField(offsetof(StoreContext, tail_values)));
  for (size_t i = 0; i < args.size(); ++i) {
    types_.StoreRaw(b(), args[i], FieldOf(values, i * sizeof(RawValue)));
  }
  llvm::FunctionCallee entry = module_.getOrInsertFunction(
      absl::StrCat("e", callee.type), types_.Entry());
  llvm::Function* const entry_function =
      llvm::cast<llvm::Function>(entry.getCallee());
  entry_function->setVisibility(llvm::GlobalValue::HiddenVisibility);
  entry_function->setDSOLocal(true);
  b().CreateStore(callee.code, StoreField(offsetof(StoreContext, tail_code)));
  b().CreateStore(callee.context,
                  StoreField(offsetof(StoreContext, tail_context)));
  b().CreateStore(entry_function,
                  StoreField(offsetof(StoreContext, tail_entry)));
  llvm::Type* const direct = types_.DirectResult(*type_);
  types_.Return(
      b(), *type_, request_.fuel ? FuelNow() : nullptr,
      direct == nullptr ? nullptr : llvm::Constant::getNullValue(direct));
  EndReachable();
}

void Translator::WriteTailCallLoop(llvm::Function* wrapper,
                                   llvm::Function* body, const FuncType& type) {
  const llvm::IRBuilderBase::InsertPointGuard guard(b());
  llvm::Type* const i64 = b().getInt64Ty();
  llvm::BasicBlock* const entry =
      llvm::BasicBlock::Create(context_, "entry", wrapper);
  llvm::BasicBlock* const plain =
      llvm::BasicBlock::Create(context_, "plain", wrapper);
  llvm::BasicBlock* const loop =
      llvm::BasicBlock::Create(context_, "loop", wrapper);
  llvm::BasicBlock* const done =
      llvm::BasicBlock::Create(context_, "done", wrapper);

  b().SetInsertPoint(entry);
  b().SetCurrentDebugLocation(llvm::DebugLoc());
  llvm::Value* const context = wrapper->getArg(0);
  llvm::Value* const store = b().CreateLoad(
      b().getPtrTy(), FieldOf(context, offsetof(ContextHeader, store)));
  std::vector<llvm::Value*> args;
  for (llvm::Argument& arg : wrapper->args()) args.push_back(&arg);
  llvm::CallInst* const first = b().CreateCall(body, args);
  llvm::Value* const first_fuel = types_.FuelOf(b(), type, first);
  llvm::Value* const first_result = types_.ResultOf(b(), type, first);
  llvm::Value* const tail_code_field =
      FieldOf(store, offsetof(StoreContext, tail_code));
  llvm::Value* const first_tail =
      b().CreateLoad(b().getPtrTy(), tail_code_field);
  b().CreateCondBr(b().CreateIsNull(first_tail), plain, loop);

  b().SetInsertPoint(plain);
  types_.Return(b(), type, first_fuel, first_result);

  b().SetInsertPoint(loop);
  llvm::PHINode* const tail = b().CreatePHI(b().getPtrTy(), 2);
  llvm::PHINode* const fuel = b().CreatePHI(i64, 2);
  tail->addIncoming(first_tail, entry);
  fuel->addIncoming(request_.fuel ? first_fuel : I64(0), entry);
  b().CreateStore(llvm::ConstantPointerNull::get(b().getPtrTy()),
                  tail_code_field);
  llvm::Value* const tail_context = b().CreateLoad(
      b().getPtrTy(), FieldOf(store, offsetof(StoreContext, tail_context)));
  llvm::Value* const tail_entry = b().CreateLoad(
      b().getPtrTy(), FieldOf(store, offsetof(StoreContext, tail_entry)));
  llvm::Value* const values = b().CreateLoad(
      b().getPtrTy(), FieldOf(store, offsetof(StoreContext, tail_values)));
  llvm::Value* const fuel_left = b().CreateCall(
      types_.Entry(), tail_entry, {tail_context, fuel, tail, values});
  llvm::Value* const next = b().CreateLoad(b().getPtrTy(), tail_code_field);
  tail->addIncoming(next, loop);
  fuel->addIncoming(fuel_left, loop);
  b().CreateCondBr(b().CreateIsNull(next), done, loop);

  b().SetInsertPoint(done);
  llvm::Value* result = nullptr;
  if (types_.DirectResult(type) != nullptr) {
    llvm::Value* const returned = b().CreateLoad(
        b().getPtrTy(), FieldOf(store, offsetof(StoreContext, values)));
    result = types_.LoadRaw(b(), type.results[0], returned);
  }
  types_.Return(b(), type, request_.fuel ? fuel_left : nullptr, result);
}

Translator::Result Translator::OnCallExpr(Index function) {
  if (skipping_ || !reachable_) return Result::Ok;
  EmitCall(DirectCallee(function));
  return Result::Ok;
}

Translator::Result Translator::OnCallIndirectExpr(Index type, Index table) {
  if (skipping_ || !reachable_) return Result::Ok;
  EmitCall(IndirectCallee(type, table, /*tail=*/false));
  return Result::Ok;
}

Translator::Result Translator::OnReturnCallExpr(Index function) {
  if (skipping_ || !reachable_) return Result::Ok;
  Callee callee = DirectCallee(function);
  if (function < info_.imported_functions) {
    callee.code =
        ContextField(layout_.imports + uint64_t{function} * sizeof(FuncImport) +
                         offsetof(FuncImport, tail_code),
                     b().getPtrTy());
  } else {
    callee.code = FunctionAddress(function, true);
  }
  EmitTailCall(callee);
  return Result::Ok;
}

Translator::Result Translator::OnReturnCallIndirectExpr(Index type,
                                                        Index table) {
  if (skipping_ || !reachable_) return Result::Ok;
  EmitTailCall(IndirectCallee(type, table, /*tail=*/true));
  return Result::Ok;
}

}  // namespace callgate::native
