// Blocks, loops and branches.

#include <algorithm>

#include "runtime/native/compiler/translator.h"

namespace callgate::native {

void Translator::Signature(Type type, std::vector<llvm::Type*>& params,
                           std::vector<llvm::Type*>& results) const {
  // A block's type is a value type, void, or (not negative) a type's index.
  const int32_t code = static_cast<int32_t>(type);
  if (code >= 0) {
    const FuncType& signature = info_.types[static_cast<size_t>(code)];
    for (const ValType param : signature.params) {
      params.push_back(LlvmType(param));
    }
    for (const ValType result : signature.results) {
      results.push_back(LlvmType(result));
    }
  } else if (type != Type::Void) {
    results.push_back(LlvmType(static_cast<ValType>(code & 0x7f)));
  }
}

Translator::Frame& Translator::PushFrame(Frame::Kind kind, Type type) {
  Frame& frame = frames_.emplace_back();
  frame.kind = kind;
  frame.dead = !reachable_;
  if (frame.dead) return frame;
  Signature(type, frame.params, frame.results);
  frame.height = stack_.size() - frame.params.size();
  MakeEnd(frame);
  return frame;
}

void Translator::MakeEnd(Frame& frame) {
  frame.end = NewBlock("end");
  for (llvm::Type* const type : frame.results) {
    frame.end_phis.push_back(llvm::PHINode::Create(type, 2, "", frame.end));
  }
}

llvm::BasicBlock* Translator::Target(Frame& frame) {
  return frame.kind == Frame::Kind::kLoop ? frame.head : frame.end;
}

size_t Translator::Arity(const Frame& frame) const {
  return frame.kind == Frame::Kind::kLoop ? frame.params.size()
                                          : frame.results.size();
}

void Translator::AddIncoming(Frame& frame,
                             absl::Span<llvm::Value* const> values) {
  auto& phis =
      frame.kind == Frame::Kind::kLoop ? frame.head_phis : frame.end_phis;
  for (size_t i = 0; i < phis.size(); ++i) {
    phis[i]->addIncoming(values[i], b().GetInsertBlock());
  }
  frame.end_since_look = std::max(frame.end_since_look, since_look_);
}

void Translator::BranchTo(Index depth, bool) {
  Frame& frame = Label(depth);
  const std::vector<llvm::Value*> values = PopMany(Arity(frame));
  ChargeFuel();
  AddIncoming(frame, values);
  b().CreateBr(Target(frame));
  EndReachable();
}

Translator::Result Translator::OnUnreachableExpr() {
  if (skipping_ || !reachable_) return Result::Ok;
  TrapAlways(TrapCode::kUnreachable);
  return Result::Ok;
}

Translator::Result Translator::OnBlockExpr(Type type) {
  if (skipping_) return Result::Ok;
  PushFrame(Frame::Kind::kBlock, type);
  return Result::Ok;
}

Translator::Result Translator::OnLoopExpr(Type type) {
  if (skipping_) return Result::Ok;
  Frame& frame = PushFrame(Frame::Kind::kLoop, type);
  if (frame.dead) return Result::Ok;
  const std::vector<llvm::Value*> params = PopMany(frame.params.size());
  ChargeFuel();
  frame.head = NewBlock("loop");
  for (llvm::Type* const param : frame.params) {
    frame.head_phis.push_back(llvm::PHINode::Create(param, 2, "", frame.head));
  }
  AddIncoming(frame, params);
  b().CreateBr(frame.head);
  Enter(frame.head);
  for (llvm::PHINode* const phi : frame.head_phis) Push(phi);
  Look();
  return Result::Ok;
}

Translator::Result Translator::OnIfExpr(Type type) {
  if (skipping_) return Result::Ok;
  if (!reachable_) {
    PushFrame(Frame::Kind::kIf, type);
    return Result::Ok;
  }
  llvm::Value* const condition = b().CreateICmpNE(Pop(), I32(0));
  ChargeFuel();
  Frame& frame = PushFrame(Frame::Kind::kIf, type);
  // The other arm gets the same values.
  const std::vector<llvm::Value*> params = PopMany(frame.params.size());
  for (llvm::Value* const param : params) {
    Push(param);
    frame.else_params.push_back({param, Arithmetic::kNone});
  }
  llvm::BasicBlock* const then = NewBlock("then");
  frame.otherwise = NewBlock("else");
  frame.otherwise_since_look = since_look_;
  b().CreateCondBr(condition, then, frame.otherwise);
  Enter(then);
  return Result::Ok;
}

// Leaves a construct by falling off its end: its values go to the end's phis.
// The stack is what it was beneath.
void Translator::FinishFrame() {
  Frame& frame = frames_.back();
  if (reachable_) {
    const std::vector<llvm::Value*> values = PopMany(frame.results.size());
    ChargeFuel();
    for (size_t i = 0; i < frame.end_phis.size(); ++i) {
      frame.end_phis[i]->addIncoming(values[i], b().GetInsertBlock());
    }
    b().CreateBr(frame.end);
    frame.end_since_look = std::max(frame.end_since_look, since_look_);
    EndReachable();
  }
  stack_.resize(frame.height);
  pending_ = 0;
}

Translator::Result Translator::OnElseExpr() {
  if (skipping_) return Result::Ok;
  if (frames_.back().dead) return Result::Ok;
  FinishFrame();
  Frame& frame = frames_.back();
  frame.kind = Frame::Kind::kElse;
  Enter(frame.otherwise);
  since_look_ = frame.otherwise_since_look;
  for (const Operand& param : frame.else_params) stack_.push_back(param);
  return Result::Ok;
}

Translator::Result Translator::OnEndExpr() {
  if (skipping_ || frames_.empty()) return Result::Ok;
  if (frames_.back().dead) {
    frames_.pop_back();
    return Result::Ok;
  }
  FinishFrame();
  {
    Frame& frame = frames_.back();
    if (frame.kind == Frame::Kind::kIf) {
      // Without an else the parameters are the results.
      Enter(frame.otherwise);
      since_look_ = frame.otherwise_since_look;
      for (const Operand& param : frame.else_params) stack_.push_back(param);
      FinishFrame();
    } else if (frame.kind == Frame::Kind::kTry ||
               frame.kind == Frame::Kind::kCatch) {
      // What none of its catches took goes on outwards.
      llvm::BasicBlock* const rest =
          frame.kind == Frame::Kind::kTry ? frame.landing : frame.next_catch;
      if (rest != nullptr) {
        Enter(rest);
        RaiseTo(EnclosingTry(frames_.size() - 1));
        pending_ = 0;
      }
    }
  }
  const Frame frame = std::move(frames_.back());
  frames_.pop_back();
  if (frame.end->use_empty()) {
    for (llvm::PHINode* const phi : frame.end_phis) {
      phi->eraseFromParent();
    }
    frame.end->eraseFromParent();
    EndReachable();
    return Result::Ok;
  }
  Enter(frame.end);
  since_look_ = frame.end_since_look;
  for (llvm::PHINode* const phi : frame.end_phis) Push(phi);
  if (frame.kind == Frame::Kind::kFunction) EmitReturn();
  return Result::Ok;
}

void Translator::EmitReturn() {
  const std::vector<llvm::Value*> results = PopMany(type_->results.size());
  ChargeFuel();
  if (results.size() > 1) {
    llvm::Value* const values = b().CreateLoad(
        b().getPtrTy(), StoreField(offsetof(StoreContext, values)));
    for (size_t i = 0; i < results.size(); ++i) {
      types_.StoreRaw(b(), results[i], FieldOf(values, i * sizeof(RawValue)));
    }
  }
  types_.Return(b(), *type_, request_.fuel ? FuelNow() : nullptr,
                results.size() == 1 ? results[0] : nullptr);
  EndReachable();
}

Translator::Result Translator::OnBrExpr(Index depth) {
  if (skipping_ || !reachable_) return Result::Ok;
  BranchTo(depth, true);
  return Result::Ok;
}

Translator::Result Translator::OnBrIfExpr(Index depth) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const condition = b().CreateICmpNE(Pop(), I32(0));
  Frame& frame = Label(depth);
  const std::vector<llvm::Value*> values = PopMany(Arity(frame));
  ChargeFuel();
  AddIncoming(frame, values);
  llvm::BasicBlock* const go_on = NewBlock("");
  b().CreateCondBr(condition, Target(frame), go_on);
  Enter(go_on);
  for (llvm::Value* const value : values) Push(value);
  return Result::Ok;
}

Translator::Result Translator::OnBrTableExpr(Index count, Index* depths,
                                             Index otherwise) {
  if (skipping_ || !reachable_) return Result::Ok;
  llvm::Value* const index = Pop();
  const std::vector<llvm::Value*> values = PopMany(Arity(Label(otherwise)));
  ChargeFuel();
  // A phi has one entry for every edge, though edges share a block.
  AddIncoming(Label(otherwise), values);
  llvm::SwitchInst* const jump =
      b().CreateSwitch(index, Target(Label(otherwise)), count);
  for (Index i = 0; i < count; ++i) {
    Frame& frame = Label(depths[i]);
    AddIncoming(frame, values);
    jump->addCase(I32(i), Target(frame));
  }
  EndReachable();
  return Result::Ok;
}

Translator::Result Translator::OnReturnExpr() {
  if (skipping_ || !reachable_) return Result::Ok;
  BranchTo(static_cast<Index>(frames_.size() - 1), true);
  return Result::Ok;
}

}  // namespace callgate::native
