#include "runtime/native/compiler/min_max.h"

#include <optional>
#include <vector>

#include "llvm/ADT/STLExtras.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/MDBuilder.h"
#include "llvm/Transforms/Utils/BasicBlockUtils.h"

namespace callgate::native {
namespace {

// How the two intrinsics are made. With a NaN, or with zeros of different
// sign, minsd and maxsd answer their second operand, whatever it is.
class Expansion {
 public:
  explicit Expansion(llvm::IntrinsicInst& call)
      : call_(call),
        b_(&call),
        is_min_(call.getIntrinsicID() == llvm::Intrinsic::minimum),
        left_(call.getArgOperand(0)),
        right_(call.getArgOperand(1)) {
    llvm::Type* const type = call.getType();
    bits_ = b_.getIntNTy(type->getScalarSizeInBits());
    if (const auto* v = llvm::dyn_cast<llvm::FixedVectorType>(type)) {
      bits_ = llvm::FixedVectorType::get(bits_, v->getNumElements());
    }
  }

  // Both orders of the operands together are the answer.
  llvm::Value* Straight() {
    return Together(Picked(left_, right_), Picked(right_, left_));
  }

  // One order is, unless the operands are equal or one is a NaN, for which
  // there is a branch.
  llvm::Value* Branching() {
    llvm::Value* const picked = Picked(left_, right_);
    llvm::BasicBlock* const head = call_.getParent();
    llvm::Instruction* const end_of_rare = llvm::SplitBlockAndInsertIfThen(
        b_.CreateFCmpUEQ(left_, right_), call_.getIterator(),
        /*Unreachable=*/false,
        llvm::MDBuilder(call_.getContext()).createBranchWeights(1, 1 << 20));
    b_.SetInsertPoint(end_of_rare);
    llvm::Value* const rare = Together(left_, right_);
    b_.SetInsertPoint(&call_);
    llvm::PHINode* const result = b_.CreatePHI(call_.getType(), 2);
    result->addIncoming(picked, head);
    result->addIncoming(rare, end_of_rare->getParent());
    return result;
  }

  // Where `kept` is likely to be the answer, as of a loop that looks for the
  // least of many: nothing waits for the comparison then.
  llvm::Value* Keeping(llvm::Value* kept, llvm::Value* other) {
    llvm::LLVMContext& context = call_.getContext();
    llvm::MDNode* const hardly_ever =
        llvm::MDBuilder(context).createBranchWeights(1, 1 << 20);
    llvm::BasicBlock* const head = call_.getParent();
    llvm::Instruction* const end_of_other = llvm::SplitBlockAndInsertIfThen(
        b_.CreateNot(IsFirst(kept, other)), call_.getIterator(),
        /*Unreachable=*/false, hardly_ever);
    b_.SetInsertPoint(end_of_other);
    llvm::BasicBlock* const second = end_of_other->getParent();
    llvm::Instruction* const end_of_rare = llvm::SplitBlockAndInsertIfThen(
        b_.CreateNot(IsFirst(other, kept)), end_of_other->getIterator(),
        /*Unreachable=*/false, hardly_ever);
    b_.SetInsertPoint(end_of_rare);
    llvm::Value* const rare = Together(left_, right_);
    b_.SetInsertPoint(end_of_other);
    llvm::PHINode* const changed = b_.CreatePHI(call_.getType(), 2);
    changed->addIncoming(other, second);
    changed->addIncoming(rare, end_of_rare->getParent());
    b_.SetInsertPoint(&call_);
    llvm::PHINode* const result = b_.CreatePHI(call_.getType(), 2);
    result->addIncoming(kept, head);
    result->addIncoming(changed, end_of_other->getParent());
    return result;
  }

 private:
  llvm::Value* IsFirst(llvm::Value* first, llvm::Value* second) {
    return is_min_ ? b_.CreateFCmpOLT(first, second)
                   : b_.CreateFCmpOGT(first, second);
  }

  // One minsd or maxsd.
  llvm::Value* Picked(llvm::Value* first, llvm::Value* second) {
    return b_.CreateSelect(IsFirst(first, second), first, second);
  }

  // Of two that are the same, or zeros of any sign, or of which one is a NaN
  // because an operand is.
  llvm::Value* Together(llvm::Value* one, llvm::Value* other) {
    llvm::Type* const type = call_.getType();
    one = b_.CreateBitCast(one, bits_);
    other = b_.CreateBitCast(other, bits_);
    // A NaN stays one whatever bits are added to it.
    if (is_min_) return b_.CreateBitCast(b_.CreateOr(one, other), type);
    llvm::Value* const number =
        b_.CreateBitCast(b_.CreateAnd(one, other), type);
    return b_.CreateSelect(b_.CreateFCmpUNO(left_, right_),
                           llvm::ConstantFP::getQNaN(type), number);
  }

  llvm::IntrinsicInst& call_;
  llvm::IRBuilder<> b_;
  const bool is_min_;
  llvm::Value* const left_;
  llvm::Value* const right_;
  llvm::Type* bits_ = nullptr;
};

// The operand that gathers the least or the greatest of what a loop goes
// through: a phi that one of these comes back to, or the last of them.
llvm::Value* Gathered(const llvm::IntrinsicInst& call) {
  const auto is_like = [&](const llvm::Value* value) {
    const auto* const other = llvm::dyn_cast<llvm::IntrinsicInst>(value);
    return other != nullptr && other->getIntrinsicID() == call.getIntrinsicID();
  };
  for (llvm::Value* const operand : call.args()) {
    const llvm::Value* first = operand;
    for (int i = 0; i < 16 && is_like(first); ++i) {
      const auto* const earlier = llvm::cast<llvm::IntrinsicInst>(first);
      const bool left = is_like(earlier->getArgOperand(0)) ||
                        llvm::isa<llvm::PHINode>(earlier->getArgOperand(0));
      first = earlier->getArgOperand(left ? 0 : 1);
    }
    const auto* const phi = llvm::dyn_cast<llvm::PHINode>(first);
    if (phi != nullptr && llvm::any_of(phi->incoming_values(), is_like)) {
      return operand;
    }
  }
  return nullptr;
}

}  // namespace

void ExpandMinMax(llvm::Module& module, bool branches) {
  struct Found {
    llvm::IntrinsicInst* call;
    // An operand may be replaced before it is asked for.
    std::optional<unsigned> gathered;
  };
  std::vector<Found> found;
  for (llvm::Function& function : module) {
    if (function.getIntrinsicID() != llvm::Intrinsic::minimum &&
        function.getIntrinsicID() != llvm::Intrinsic::maximum) {
      continue;
    }
    for (llvm::User* const user : function.users()) {
      auto* const call = llvm::dyn_cast<llvm::IntrinsicInst>(user);
      if (call == nullptr) continue;
      const llvm::Value* const gathered = Gathered(*call);
      found.push_back({call, {}});
      if (gathered == nullptr) continue;
      found.back().gathered = gathered == call->getArgOperand(0) ? 0 : 1;
    }
  }
  for (const auto& [call, gathered] : found) {
    Expansion expansion(*call);
    llvm::Value* result = nullptr;
    if (!branches || call->getType()->isVectorTy()) {
      result = expansion.Straight();
    } else if (gathered.has_value()) {
      result = expansion.Keeping(call->getArgOperand(*gathered),
                                 call->getArgOperand(1 - *gathered));
    } else {
      result = expansion.Branching();
    }
    call->replaceAllUsesWith(result);
    call->eraseFromParent();
  }
}

}  // namespace callgate::native
