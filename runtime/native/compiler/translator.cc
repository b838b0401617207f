#include "runtime/native/compiler/translator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "llvm/IR/DIBuilder.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/MDBuilder.h"

namespace callgate::native {
namespace {

// The weights of a branch that is hardly ever taken.
llvm::MDNode* Unlikely(llvm::LLVMContext& context) {
  return llvm::MDBuilder(context).createBranchWeights(1, 1 << 20);
}

// More than any memory can have: a processor's address space.
constexpr uint64_t kMemoryBytesMax = uint64_t{1} << 48;

// What an operator costs: Wasmtime's table. Bulk operations are charged for
// their size by the runtime, on top.
uint64_t CostOf(wabt::Opcode opcode) {
  switch (opcode) {
    case wabt::Opcode::Nop:
    case wabt::Opcode::Drop:
    case wabt::Opcode::Block:
    case wabt::Opcode::Loop:
    case wabt::Opcode::Unreachable:
    case wabt::Opcode::Return:
    case wabt::Opcode::Else:
    case wabt::Opcode::End:
      return 0;
    default:
      return 1;
  }
}

// Bytes of an operator, for its offset.
uint64_t LengthOf(wabt::Opcode opcode) {
  if (!opcode.HasPrefix()) return 1;
  return opcode.GetCode() < 0x80 ? 2 : 3;
}

}  // namespace

Translator::Translator(const ModuleInfo& info, const CompileRequest& request,
                       const FrameSizes& frame_sizes, llvm::Module& module,
                       uint32_t begin, uint32_t end)
    : info_(info),
      request_(request),
      frame_sizes_(frame_sizes),
      module_(module),
      context_(module.getContext()),
      types_(module.getContext(), request.fuel),
      layout_(info.Layout()),
      begin_(begin),
      end_(end),
      builder_(std::make_unique<llvm::IRBuilder<>>(module.getContext())),
      debug_(std::make_unique<llvm::DIBuilder>(module)) {
  module_.addModuleFlag(llvm::Module::Warning, "Debug Info Version",
                        llvm::DEBUG_METADATA_VERSION);
  module_.addModuleFlag(llvm::Module::Max, "Dwarf Version", 4);
  debug_file_ = debug_->createFile("module", "");
  debug_->createCompileUnit(llvm::dwarf::DW_LANG_C, debug_file_, "", false, "",
                            0, "", llvm::DICompileUnit::LineTablesOnly);

  // One call of it is smaller than a call through the table of builtins, and
  // there are many trap sites.
  trap_function_ = llvm::Function::Create(
      llvm::FunctionType::get(b().getVoidTy(),
                              {b().getPtrTy(), b().getInt32Ty(),
                               b().getInt64Ty(), b().getInt64Ty()},
                              false),
      llvm::GlobalValue::InternalLinkage, "trap", module_);
  SetFunctionAttributes(*trap_function_);
  trap_function_->addFnAttr(llvm::Attribute::NoInline);
  trap_function_->addFnAttr(llvm::Attribute::NoReturn);
  trap_function_->addFnAttr(llvm::Attribute::Cold);
  b().SetInsertPoint(
      llvm::BasicBlock::Create(context_, "entry", trap_function_));
  context_value_ = trap_function_->getArg(0);
  llvm::Value* const builtins = b().CreateLoad(
      b().getPtrTy(),
      FieldOf(context_value_, offsetof(ContextHeader, builtins)));
  llvm::Value* const code = b().CreateLoad(
      b().getPtrTy(),
      FieldOf(builtins, static_cast<uint64_t>(Builtin::kTrap) * 8));
  b().CreateCall(trap_function_->getFunctionType(), code,
                 {trap_function_->getArg(0), trap_function_->getArg(1),
                  trap_function_->getArg(2), trap_function_->getArg(3)});
  b().CreateUnreachable();
}

Translator::~Translator() { debug_->finalize(); }

llvm::ConstantInt* Translator::I32(uint32_t value) {
  return b().getInt32(value);
}
llvm::ConstantInt* Translator::I64(uint64_t value) {
  return b().getInt64(value);
}

llvm::BasicBlock* Translator::NewBlock(const char* name) {
  return llvm::BasicBlock::Create(context_, name, function_);
}

void Translator::Enter(llvm::BasicBlock* block) {
  b().SetInsertPoint(block);
  reachable_ = true;
}

Translator::Result Translator::Unsupported(Opcode opcode) {
  unsupported_ = absl::StrCat("operator ", opcode.GetName());
  return Result::Error;
}

// ---------------------------------------------------------------- a function

llvm::Value* Translator::FunctionAddress(uint32_t function, bool body) {
  const bool is_body = body && info_.HasTailCalls(function);
  const std::string name = absl::StrCat(is_body ? "b" : "f", function);
  if (llvm::Function* known = module_.getFunction(name)) return known;
  llvm::Function* const made =
      llvm::Function::Create(types_.Of(info_.TypeOf(function)),
                             llvm::GlobalValue::ExternalLinkage, name, module_);
  made->setVisibility(llvm::GlobalValue::HiddenVisibility);
  made->setDSOLocal(true);
  SetFunctionAttributes(*made);
  return made;
}

Translator::Result Translator::BeginFunctionBody(Index index, wabt::Offset) {
  skipping_ = index < begin_ || index >= end_;
  if (skipping_) return Result::Ok;
  function_index_ = index;
  type_ = &info_.TypeOf(index);
  function_ = llvm::cast<llvm::Function>(FunctionAddress(index, true));
  local_types_ = type_->params;
  started_ = false;
  return Result::Ok;
}

Translator::Result Translator::OnLocalDeclCount(Index) { return Result::Ok; }

Translator::Result Translator::OnLocalDecl(Index, Index count, Type type) {
  if (skipping_) return Result::Ok;
  const auto val_type = static_cast<ValType>(static_cast<int32_t>(type) & 0x7f);
  local_types_.insert(local_types_.end(), count, val_type);
  return Result::Ok;
}

Translator::Result Translator::OnOpcode(Opcode opcode) {
  // Constant expressions come before any body.
  if (skipping_ || type_ == nullptr) return Result::Ok;
  offset_ = state->offset - LengthOf(opcode);
  if (!started_) {
    started_ = true;
    llvm::DISubroutineType* const type =
        debug_->createSubroutineType(debug_->getOrCreateTypeArray({}));
    subprogram_ = debug_->createFunction(debug_file_, "", "", debug_file_, 0,
                                         type, 0, llvm::DINode::FlagZero,
                                         llvm::DISubprogram::SPFlagDefinition);
    function_->setSubprogram(subprogram_);
    store_pointer_ = builtins_pointer_ = nullptr;
    memory0_def_ = memory0_base_ = nullptr;
    memory0_bytes_ = scratch_ = nullptr;
    scratch_values_ = 0;
    stack_.clear();
    frames_.clear();
    locals_.clear();
    context_value_ = function_->getArg(0);

    entry_ = NewBlock("entry");
    llvm::BasicBlock* const body = NewBlock("body");
    Enter(entry_);
    llvm::BranchInst* const jump = b().CreateBr(body);
    b().SetInsertPoint(jump);
    if (request_.fuel) {
      fuel_ = b().CreateAlloca(b().getInt64Ty());
      b().CreateStore(function_->getArg(1), fuel_);
    }
    unsigned param = types_.FirstParam();
    for (size_t i = 0; i < local_types_.size(); ++i) {
      llvm::Type* const local_type = LlvmType(local_types_[i]);
      llvm::AllocaInst* const slot = b().CreateAlloca(local_type);
      locals_.push_back(slot);
      llvm::Value* first = nullptr;
      if (i < type_->params.size()) {
        first = function_->getArg(param++);
      } else if (local_types_[i] == ValType::kExternRef) {
        first = I64(kNullRef);
      } else {
        first = llvm::Constant::getNullValue(local_type);
      }
      b().CreateStore(first, slot);
    }
    const BodyInfo& facts =
        info_.bodies[function_index_ - info_.imported_functions];
    if (facts.uses_memory && request_.level == Level::kOptimised) {
      memory0_bytes_ = b().CreateAlloca(b().getInt64Ty());
    }
    Enter(body);
    CheckStack(/*at_loop=*/false);
    pending_ = 1;
    ChargeFuel();
    CheckFuel();
    since_look_ = 0;
    ForgetMemoryLength();

    Frame& frame = frames_.emplace_back();
    frame.kind = Frame::Kind::kFunction;
    for (const ValType result : type_->results) {
      frame.results.push_back(LlvmType(result));
    }
    MakeEnd(frame);
  }
  if (reachable_) {
    if (since_look_ >= kOperatorsBetweenLooks) Look();
    since_look_ += CostOf(opcode);
    pending_ += request_.fuel ? CostOf(opcode) : 0;
  }
  return Result::Ok;
}

Translator::Result Translator::EndFunctionBody(Index index) {
  if (skipping_) return Result::Ok;
  if (scratch_ != nullptr) {
    scratch_->setOperand(0, I32(static_cast<uint32_t>(scratch_values_)));
  }
  if (info_.HasTailCalls(index)) {
    llvm::Function* const wrapper =
        llvm::cast<llvm::Function>(FunctionAddress(index, false));
    WriteTailCallLoop(wrapper, function_, *type_);
  }
  type_ = nullptr;
  return Result::Ok;
}

// ---------------------------------------------------------------- the stack

void Translator::Push(llvm::Value* value, Arithmetic arithmetic) {
  stack_.push_back({value, arithmetic});
}

Operand Translator::PopOperand() {
  const Operand top = stack_.back();
  stack_.pop_back();
  return top;
}

llvm::Value* Translator::Canonical(const Operand& operand) {
  llvm::Value* value = operand.value;
  switch (operand.arithmetic) {
    case Arithmetic::kNone:
      return value;
    case Arithmetic::kScalar: {
      llvm::Value* const nan = llvm::ConstantFP::getQNaN(value->getType());
      return b().CreateSelect(b().CreateFCmpUNO(value, value), nan, value);
    }
    case Arithmetic::kF32x4:
    case Arithmetic::kF64x2: {
      const bool narrow = operand.arithmetic == Arithmetic::kF32x4;
      llvm::Type* const lane = narrow ? b().getFloatTy() : b().getDoubleTy();
      llvm::Type* const lanes =
          llvm::FixedVectorType::get(lane, narrow ? 4 : 2);
      llvm::Type* const plain = value->getType();
      value = b().CreateBitCast(value, lanes);
      llvm::Value* const nan = llvm::ConstantFP::getQNaN(lanes);
      value = b().CreateSelect(b().CreateFCmpUNO(value, value), nan, value);
      return b().CreateBitCast(value, plain);
    }
  }
  return value;
}

llvm::Value* Translator::Quieted(llvm::Value* number) {
  if (request_.canonical_nans || request_.level != Level::kOptimised) {
    return number;
  }
  return b().CreateArithmeticFence(number, number->getType());
}

llvm::Value* Translator::Pop() { return Canonical(PopOperand()); }

llvm::Value* Translator::PopNumber(Arithmetic arithmetic) {
  const Operand operand = PopOperand();
  return operand.arithmetic == arithmetic ? operand.value : Canonical(operand);
}

std::vector<llvm::Value*> Translator::PopMany(size_t count) {
  std::vector<llvm::Value*> values(count);
  for (size_t i = count; i-- > 0;) values[i] = Pop();
  return values;
}

// ---------------------------------------------------------------- structures

llvm::Value* Translator::AtEntry(llvm::function_ref<llvm::Value*()> emit) {
  const llvm::IRBuilderBase::InsertPointGuard guard(b());
  b().SetInsertPoint(entry_->getTerminator());
  return emit();
}

llvm::Value* Translator::FieldOf(llvm::Value* base, uint64_t offset) {
  if (offset == 0) return base;
  return b().CreateConstInBoundsGEP1_64(b().getInt8Ty(), base, offset);
}

// A load of something that never changes while the function runs.
llvm::Value* Translator::LoadConst(llvm::Type* type, llvm::Value* pointer) {
  llvm::LoadInst* const load = b().CreateLoad(type, pointer);
  load->setMetadata(llvm::LLVMContext::MD_invariant_load,
                    llvm::MDNode::get(context_, {}));
  return load;
}

llvm::Value* Translator::StorePointer() {
  if (store_pointer_ == nullptr) {
    store_pointer_ = AtEntry([this] {
      return LoadConst(b().getPtrTy(),
                       FieldOf(context_value_, offsetof(ContextHeader, store)));
    });
  }
  return store_pointer_;
}

llvm::Value* Translator::StoreField(uint64_t offset) {
  return FieldOf(StorePointer(), offset);
}

llvm::Value* Translator::ContextField(uint64_t offset, llvm::Type* type) {
  return LoadConst(type, FieldOf(context_value_, offset));
}

llvm::Value* Translator::CallBuiltin(Builtin builtin, llvm::FunctionType* type,
                                     llvm::ArrayRef<llvm::Value*> args) {
  llvm::Value* const table =
      LoadConst(b().getPtrTy(),
                FieldOf(context_value_, offsetof(ContextHeader, builtins)));
  llvm::Value* const code = LoadConst(
      b().getPtrTy(), FieldOf(table, static_cast<uint64_t>(builtin) * 8));
  llvm::CallInst* const call = b().CreateCall(type, code, args);
  SetCallLocation(call);
  return call;
}

llvm::Value* Translator::CallBuiltinWithFuel(
    Builtin builtin, llvm::Type* result, llvm::ArrayRef<llvm::Value*> args) {
  ChargeFuel();
  llvm::Value* const field = StoreField(offsetof(StoreContext, fuel));
  if (request_.fuel) {
    b().CreateStore(b().CreateLoad(b().getInt64Ty(), fuel_), field);
  }
  std::vector<llvm::Type*> params;
  for (llvm::Value* const arg : args) params.push_back(arg->getType());
  llvm::Value* const returned = CallBuiltin(
      builtin, llvm::FunctionType::get(result, params, false), args);
  if (request_.fuel) {
    b().CreateStore(b().CreateLoad(b().getInt64Ty(), field), fuel_);
  }
  return returned;
}

void Translator::SetCallLocation(llvm::CallInst* call) {
  places_.push_back(offset_);
  // Two calls that became one would be in one place in every backtrace.
  call->addFnAttr(llvm::Attribute::NoMerge);
  // The line is the module offset, one up: line 0 means "no line".
  call->setDebugLoc(llvm::DILocation::get(
      context_, static_cast<unsigned>(offset_ + 1), 0, subprogram_));
}

// ---------------------------------------------------------------- traps, fuel

llvm::Value* Translator::FuelNow() {
  if (!request_.fuel) return I64(0);
  llvm::Value* const fuel = b().CreateLoad(b().getInt64Ty(), fuel_);
  return pending_ == 0 ? fuel : b().CreateSub(fuel, I64(pending_));
}

void Translator::TrapIf(llvm::Value* condition, TrapCode code) {
  llvm::BasicBlock* const trap = NewBlock("trap");
  llvm::BasicBlock* const go_on = NewBlock("");
  b().CreateCondBr(condition, trap, go_on, Unlikely(context_));
  b().SetInsertPoint(trap);
  TrapAlways(code);
  Enter(go_on);
}

void Translator::TrapAlways(TrapCode code) {
  llvm::CallInst* const call = b().CreateCall(
      trap_function_, {context_value_, I32(static_cast<uint32_t>(code)),
                       I64(offset_), FuelNow()});
  SetCallLocation(call);
  b().CreateUnreachable();
  EndReachable();
}

void Translator::ChargeFuel() {
  if (!request_.fuel || pending_ == 0) return;
  b().CreateStore(FuelNow(), fuel_);
  pending_ = 0;
}

void Translator::CheckFuel() {
  if (!request_.fuel) return;
  llvm::Value* const fuel = b().CreateLoad(b().getInt64Ty(), fuel_);
  llvm::BasicBlock* const empty = NewBlock("refuel");
  llvm::BasicBlock* const go_on = NewBlock("");
  b().CreateCondBr(b().CreateICmpSLT(fuel, I64(0)), empty, go_on,
                   Unlikely(context_));
  b().SetInsertPoint(empty);
  llvm::Value* const more = CallBuiltin(
      Builtin::kRefuel,
      llvm::FunctionType::get(b().getInt64Ty(),
                              {b().getPtrTy(), b().getInt64Ty()}, false),
      {context_value_, fuel});
  b().CreateStore(more, fuel_);
  b().CreateBr(go_on);
  Enter(go_on);
}

void Translator::Look() {
  ChargeFuel();
  if (request_.fuel) {
    CheckFuel();
  } else {
    CheckStack(/*at_loop=*/true);
  }
  since_look_ = 0;
}

void Translator::CheckStack(bool at_loop) {
  llvm::Value* frame =
      b().CreatePtrToInt(b().CreateIntrinsic(llvm::Intrinsic::frameaddress,
                                             {b().getPtrTy()}, {I32(0)}),
                         b().getInt64Ty());
  if (!at_loop) {
    const auto large = frame_sizes_.find(function_index_);
    if (large != frame_sizes_.end()) {
      frame = b().CreateSub(frame, I64(large->second));
    }
  }
  llvm::LoadInst* const limit = b().CreateLoad(
      b().getInt64Ty(), StoreField(offsetof(StoreContext, stack_limit)));
  // Another thread writes it, and it must be looked at every time.
  limit->setVolatile(true);
  llvm::BasicBlock* const below = NewBlock("below");
  llvm::BasicBlock* const go_on = NewBlock("");
  b().CreateCondBr(b().CreateICmpULT(frame, limit), below, go_on,
                   Unlikely(context_));
  b().SetInsertPoint(below);
  CallBuiltin(Builtin::kCheckStack,
              llvm::FunctionType::get(
                  b().getVoidTy(),
                  {b().getPtrTy(), b().getInt64Ty(), b().getInt64Ty()}, false),
              {context_value_, FuelNow(), frame});
  b().CreateBr(go_on);
  Enter(go_on);
}

// ---------------------------------------------------------------- memories

llvm::Value* Translator::SpeculationMask(llvm::Value* a, llvm::Value* b_value) {
  // A branch can be predicted wrongly, a borrow cannot.
  llvm::FunctionType* const type = llvm::FunctionType::get(
      b().getInt64Ty(), {b().getInt64Ty(), b().getInt64Ty()}, false);
  llvm::InlineAsm* const code = llvm::InlineAsm::get(
      type, "cmpq $2, $1\n\tsbbq $0, $0", "=r,r,r,~{flags}",
      /*hasSideEffects=*/false);
  return b().CreateCall(type, code, {a, b_value});
}

llvm::Value* Translator::MemoryDefPointer(Index memory) {
  const auto load = [this, memory] {
    return ContextField(layout_.memory_pointers + uint64_t{memory} * 8,
                        b().getPtrTy());
  };
  if (memory != 0) return load();
  if (memory0_def_ == nullptr) memory0_def_ = AtEntry(load);
  return memory0_def_;
}

llvm::Value* Translator::MemoryBase(Index memory) {
  llvm::Value* const def = MemoryDefPointer(memory);
  const auto load = [this, def] {
    return LoadConst(b().getPtrTy(), FieldOf(def, offsetof(MemoryDef, base)));
  };
  if (memory != 0) return load();
  if (memory0_base_ == nullptr) memory0_base_ = AtEntry(load);
  return memory0_base_;
}

llvm::Value* Translator::MemoryLength(Index memory) {
  if (memory == 0 && memory0_bytes_ != nullptr) {
    return b().CreateLoad(b().getInt64Ty(), memory0_bytes_);
  }
  return LoadMemoryLength(memory);
}

// With what is known of it: no memory is ever smaller than its type says.
llvm::Value* Translator::LoadMemoryLength(Index memory) {
  llvm::LoadInst* const length = b().CreateLoad(
      b().getInt64Ty(),
      FieldOf(MemoryDefPointer(memory), offsetof(MemoryDef, bytes)));
  length->setMetadata(llvm::LLVMContext::MD_range,
                      llvm::MDBuilder(context_).createRange(
                          llvm::APInt(64, MemoryBytesMin(memory)),
                          llvm::APInt(64, kMemoryBytesMax + 1)));
  return length;
}

uint64_t Translator::MemoryBytesMin(Index memory) const {
  return std::min(info_.memory_pages_min[memory], kMemoryBytesMax >> 16) << 16;
}

void Translator::ForgetMemoryLength() {
  if (memory0_bytes_ == nullptr) return;
  b().CreateStore(LoadMemoryLength(0), memory0_bytes_);
}

llvm::Value* Translator::TableDefPointer(Index table) {
  return ContextField(layout_.table_pointers + uint64_t{table} * 8,
                      b().getPtrTy());
}

llvm::Value* Translator::GlobalPointer(Index global) {
  if (global < info_.imported_globals) {
    return ContextField(layout_.global_pointers + uint64_t{global} * 8,
                        b().getPtrTy());
  }
  return FieldOf(context_value_, layout_.global_cells + uint64_t{global} * 16);
}

}  // namespace callgate::native
