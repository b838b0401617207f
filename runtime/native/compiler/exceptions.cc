// Exceptions, in their legacy form: try, catch, delegate, rethrow.
//
// An exception in flight is in the StoreContext. Code outside of any try pays
// nothing. A call inside a try goes through Builtin::kTryCall, which remembers
// where to come back to; throwing restores that place, whatever is between.

#include "runtime/native/compiler/translator.h"

namespace callgate::native {
namespace {

constexpr uint64_t kCaughtBytes = 8 + kTagParamsMax * sizeof(RawValue);

}  // namespace

Translator::Frame* Translator::EnclosingTry(size_t below) {
  for (size_t i = below; i-- > 0;) {
    if (frames_[i].kind == Frame::Kind::kTry && !frames_[i].dead) {
      return &frames_[i];
    }
  }
  return nullptr;
}

llvm::Value* Translator::Scratch(size_t values) {
  if (scratch_ == nullptr) {
    scratch_ = llvm::cast<llvm::AllocaInst>(AtEntry([this]() -> llvm::Value* {
      llvm::AllocaInst* const slots =
          b().CreateAlloca(llvm::ArrayType::get(b().getInt64Ty(), 2), I32(1));
      slots->setAlignment(llvm::Align(16));
      return slots;
    }));
  }
  scratch_values_ = std::max(scratch_values_, std::max<size_t>(values, 1));
  return scratch_;
}

void Translator::EmitCatchingCall(const Callee& callee,
                                  const std::vector<llvm::Value*>& args) {
  const FuncType& type = info_.types[callee.type];
  llvm::Value* const slots = Scratch(args.size());
  for (size_t i = 0; i < args.size(); ++i) {
    types_.StoreRaw(b(), args[i], FieldOf(slots, i * sizeof(RawValue)));
  }
  llvm::Function* const entry = llvm::cast<llvm::Function>(
      module_
          .getOrInsertFunction("e" + std::to_string(callee.type),
                               types_.Entry())
          .getCallee());
  entry->setVisibility(llvm::GlobalValue::HiddenVisibility);
  entry->setDSOLocal(true);
  llvm::Type* const pointer = b().getPtrTy();
  llvm::Value* const threw = CallBuiltin(
      Builtin::kTryCall,
      llvm::FunctionType::get(
          b().getInt32Ty(),
          {pointer, b().getInt64Ty(), pointer, pointer, pointer, pointer},
          false),
      {context_value_, FuelNow(), callee.code, slots, callee.context, entry});
  if (request_.fuel) {
    b().CreateStore(b().CreateLoad(b().getInt64Ty(),
                                   StoreField(offsetof(StoreContext, fuel))),
                    fuel_);
  }
  ForgetMemoryLength();
  llvm::BasicBlock* const caught = NewBlock("caught");
  llvm::BasicBlock* const returned = NewBlock("");
  b().CreateCondBr(b().CreateICmpNE(threw, I32(0)), caught, returned);
  b().SetInsertPoint(caught);
  RaiseTo(EnclosingTry(frames_.size()));
  Enter(returned);
  if (type.results.size() == 1) {
    llvm::Value* const values = b().CreateLoad(
        b().getPtrTy(), StoreField(offsetof(StoreContext, values)));
    Push(types_.LoadRaw(b(), type.results[0], values));
  } else {
    PushResults(type, nullptr);
  }
}

// The exception in flight goes to `handler`, or out of the function.
void Translator::RaiseTo(Frame* handler) {
  ChargeFuel();
  if (handler == nullptr) {
    CallBuiltin(Builtin::kThrow,
                llvm::FunctionType::get(
                    b().getVoidTy(), {b().getPtrTy(), b().getInt64Ty()}, false),
                {context_value_, FuelNow()});
    b().CreateUnreachable();
  } else {
    if (handler->landing == nullptr) handler->landing = NewBlock("landing");
    b().CreateBr(handler->landing);
  }
  EndReachable();
}

Translator::Result Translator::OnTryExpr(Type type) {
  if (skipping_) return Result::Ok;
  Frame& frame = PushFrame(Frame::Kind::kTry, type);
  if (frame.dead) return Result::Ok;
  // Parameters are visible in the catches' phis only through the body.
  const std::vector<llvm::Value*> params = PopMany(frame.params.size());
  for (llvm::Value* const param : params) Push(param);
  return Result::Ok;
}

void Translator::BeginCatch(Index tag, bool all) {
  FinishFrame();
  Frame& frame = frames_.back();
  if (frame.kind == Frame::Kind::kTry) {
    frame.kind = Frame::Kind::kCatch;
    if (frame.landing == nullptr) {
      // Nothing in the body can throw.
      EndReachable();
      return;
    }
    Enter(frame.landing);
    frame.caught = AtEntry([this]() -> llvm::Value* {
      llvm::AllocaInst* const copy = b().CreateAlloca(
          llvm::ArrayType::get(b().getInt64Ty(), kCaughtBytes / 8));
      copy->setAlignment(llvm::Align(8));
      return copy;
    });
    b().CreateStore(
        b().CreateLoad(b().getPtrTy(),
                       StoreField(offsetof(StoreContext, exception_tag))),
        frame.caught);
    b().CreateMemCpy(FieldOf(frame.caught, 8), llvm::Align(8),
                     StoreField(offsetof(StoreContext, exception_values)),
                     llvm::Align(8), kTagParamsMax * sizeof(RawValue));
  } else if (frame.next_catch != nullptr) {
    Enter(frame.next_catch);
  } else {
    EndReachable();
    return;
  }
  // From anywhere in the body, so that nobody knows what ran.
  since_look_ = kOperatorsBetweenLooks;
  frame.next_catch = nullptr;
  if (all) return;
  llvm::Value* const mine =
      ContextField(layout_.tag_pointers + uint64_t{tag} * 8, b().getPtrTy());
  llvm::Value* const thrown = b().CreateLoad(b().getPtrTy(), frame.caught);
  llvm::BasicBlock* const matches = NewBlock("catch");
  frame.next_catch = NewBlock("next");
  b().CreateCondBr(b().CreateICmpEQ(thrown, mine), matches, frame.next_catch);
  Enter(matches);
  const FuncType& type = info_.types[info_.tags[tag]];
  for (size_t i = 0; i < type.params.size(); ++i) {
    Push(types_.LoadRaw(b(), type.params[i],
                        FieldOf(frame.caught, 8 + i * sizeof(RawValue))));
  }
}

Translator::Result Translator::OnCatchExpr(Index tag) {
  if (skipping_ || frames_.back().dead) return Result::Ok;
  BeginCatch(tag, false);
  return Result::Ok;
}

Translator::Result Translator::OnCatchAllExpr() {
  if (skipping_ || frames_.back().dead) return Result::Ok;
  BeginCatch(0, true);
  return Result::Ok;
}

Translator::Result Translator::OnDelegateExpr(Index depth) {
  if (skipping_) return Result::Ok;
  if (!frames_.back().dead) {
    FinishFrame();
    if (llvm::BasicBlock* const landing = frames_.back().landing) {
      frames_.back().landing = nullptr;
      Enter(landing);
      // The label is counted from outside of this try.
      const size_t label = frames_.size() - 2 - depth;
      RaiseTo(EnclosingTry(label + 1));
      pending_ = 0;
    }
  }
  return OnEndExpr();
}

Translator::Result Translator::OnThrowExpr(Index tag) {
  if (skipping_ || !reachable_) return Result::Ok;
  const FuncType& type = info_.types[info_.tags[tag]];
  const std::vector<llvm::Value*> values = PopMany(type.params.size());
  for (size_t i = 0; i < values.size(); ++i) {
    types_.StoreRaw(b(), values[i],
                    StoreField(offsetof(StoreContext, exception_values) +
                               i * sizeof(RawValue)));
  }
  b().CreateStore(
      ContextField(layout_.tag_pointers + uint64_t{tag} * 8, b().getPtrTy()),
      StoreField(offsetof(StoreContext, exception_tag)));
  RaiseTo(EnclosingTry(frames_.size()));
  return Result::Ok;
}

Translator::Result Translator::OnRethrowExpr(Index depth) {
  if (skipping_ || !reachable_) return Result::Ok;
  const Frame& frame = Label(depth);
  b().CreateStore(b().CreateLoad(b().getPtrTy(), frame.caught),
                  StoreField(offsetof(StoreContext, exception_tag)));
  b().CreateMemCpy(StoreField(offsetof(StoreContext, exception_values)),
                   llvm::Align(8), FieldOf(frame.caught, 8), llvm::Align(8),
                   kTagParamsMax * sizeof(RawValue));
  RaiseTo(EnclosingTry(frames_.size()));
  return Result::Ok;
}

}  // namespace callgate::native
