#include "runtime/native/compiler/min_max.h"

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

 private:
  // One minsd or maxsd.
  llvm::Value* Picked(llvm::Value* first, llvm::Value* second) {
    return b_.CreateSelect(is_min_ ? b_.CreateFCmpOLT(first, second)
                                   : b_.CreateFCmpOGT(first, second),
                           first, second);
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

}  // namespace

void ExpandMinMax(llvm::Module& module, bool branches) {
  for (llvm::Function& function : module) {
    if (function.getIntrinsicID() != llvm::Intrinsic::minimum &&
        function.getIntrinsicID() != llvm::Intrinsic::maximum) {
      continue;
    }
    for (llvm::User* const user :
         llvm::make_early_inc_range(function.users())) {
      auto* const call = llvm::dyn_cast<llvm::IntrinsicInst>(user);
      if (call == nullptr) continue;
      Expansion expansion(*call);
      call->replaceAllUsesWith(branches && !call->getType()->isVectorTy()
                                   ? expansion.Branching()
                                   : expansion.Straight());
      call->eraseFromParent();
    }
  }
}

}  // namespace callgate::native
