#include "runtime/native/compiler/canonical_nans.h"

#include <utility>
#include <vector>

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/MDBuilder.h"
#include "llvm/Transforms/Utils/BasicBlockUtils.h"

namespace callgate::native {
namespace {

bool IsCanonicalNan(const llvm::APFloat& number) {
  return number.bitwiseIsEqual(llvm::APFloat::getQNaN(number.getSemantics()));
}

// The lanes are numbers or canonical NaNs. `constant` is of a type of `lane`s.
bool IsClean(const llvm::Constant* constant) {
  const auto clean = [](const llvm::Constant* lane) {
    const auto* const number = llvm::dyn_cast_or_null<llvm::ConstantFP>(lane);
    return number != nullptr &&
           (!number->isNaN() || IsCanonicalNan(number->getValueAPF()));
  };
  const auto* const vector =
      llvm::dyn_cast<llvm::FixedVectorType>(constant->getType());
  if (vector == nullptr) return clean(constant);
  for (unsigned i = 0; i < vector->getNumElements(); ++i) {
    if (!clean(constant->getAggregateElement(i))) return false;
  }
  return true;
}

// Corrections of one kind of value: scalars, or vectors of one kind of lane.
// A v128 is <2 x i64> between operators, so that vectors are followed through
// bitcasts from that and back.
class Corrections {
 public:
  // `lanes` is null for scalars.
  Corrections(llvm::Function& function, const llvm::LoopInfo& loops,
              llvm::Type* lanes)
      : function_(function), loops_(loops), lanes_(lanes) {
    if (lanes != nullptr) {
      plain_ = llvm::FixedVectorType::get(
          llvm::Type::getInt64Ty(function.getContext()), 2);
    }
  }

  void Run() {
    for (llvm::Instruction& instruction : llvm::instructions(function_)) {
      if (Uncorrected(&instruction) != nullptr) {
        corrections_.push_back(llvm::cast<llvm::SelectInst>(&instruction));
      }
    }
    if (corrections_.empty()) return;
    FindSeen();
    FindClean();
    FindGathering();
    MakeTwins();
    for (llvm::SelectInst* const correction : corrections_) {
      Rewrite(correction, Uncorrected(correction));
    }
    for (llvm::Instruction* const value : gathering_) {
      Rewrite(value, twins_[value]);
    }
    Erase();
  }

 private:
  // What an operand is to its user.
  enum class Role { kSeen, kNumber, kPassedOn };

  bool IsNumber(const llvm::Type* type) const {
    return lanes_ != nullptr ? type == lanes_
                             : type->isFloatTy() || type->isDoubleTy();
  }
  bool IsCarrier(const llvm::Type* type) const {
    return IsNumber(type) || (plain_ != nullptr && type == plain_);
  }

  // x, where `value` is a correction of it; else null.
  llvm::Value* Uncorrected(const llvm::Value* value) const {
    const auto* const select = llvm::dyn_cast<llvm::SelectInst>(value);
    if (select == nullptr || !IsNumber(select->getType())) return nullptr;
    const auto* const test =
        llvm::dyn_cast<llvm::FCmpInst>(select->getCondition());
    llvm::Value* const x = select->getOperand(2);
    if (test == nullptr || test->getPredicate() != llvm::CmpInst::FCMP_UNO ||
        test->getOperand(0) != x || test->getOperand(1) != x) {
      return nullptr;
    }
    const auto* const nan =
        llvm::dyn_cast<llvm::Constant>(select->getOperand(1));
    if (nan == nullptr) return nullptr;
    const auto* const lane = llvm::dyn_cast_or_null<llvm::ConstantFP>(
        nan->getType()->isVectorTy() ? nan->getSplatValue() : nan);
    return lane != nullptr && IsCanonicalNan(lane->getValueAPF()) ? x : nullptr;
  }

  // Hands on one of its operands, bits and all.
  bool IsTransparent(const llvm::Value* value) const {
    if (!IsCarrier(value->getType())) return false;
    if (llvm::isa<llvm::PHINode>(value)) return true;
    if (llvm::isa<llvm::SelectInst>(value)) {
      return Uncorrected(value) == nullptr;
    }
    const auto* const cast = llvm::dyn_cast<llvm::BitCastInst>(value);
    return cast != nullptr && IsCarrier(cast->getSrcTy());
  }

  Role RoleOf(const llvm::Use& use) const {
    const auto* const user = llvm::cast<llvm::Instruction>(use.getUser());
    if (IsTransparent(user)) return Role::kPassedOn;
    if (!IsNumber(use->getType())) return Role::kSeen;
    switch (user->getOpcode()) {
      case llvm::Instruction::FAdd:
      case llvm::Instruction::FSub:
      case llvm::Instruction::FMul:
      case llvm::Instruction::FDiv:
      case llvm::Instruction::FPTrunc:
      case llvm::Instruction::FPExt:
      case llvm::Instruction::FCmp:
      // Checked before, where they can be.
      case llvm::Instruction::FPToSI:
      case llvm::Instruction::FPToUI:
        return Role::kNumber;
      case llvm::Instruction::FNeg:
        return Role::kPassedOn;
      case llvm::Instruction::Select:
        return Uncorrected(user) != nullptr ? Role::kNumber : Role::kSeen;
      case llvm::Instruction::Call:
        break;
      default:
        return Role::kSeen;
    }
    const auto* const call = llvm::dyn_cast<llvm::IntrinsicInst>(user);
    if (call == nullptr) return Role::kSeen;
    switch (call->getIntrinsicID()) {
      case llvm::Intrinsic::sqrt:
      case llvm::Intrinsic::ceil:
      case llvm::Intrinsic::floor:
      case llvm::Intrinsic::trunc:
      case llvm::Intrinsic::roundeven:
      case llvm::Intrinsic::minimum:
      case llvm::Intrinsic::maximum:
      case llvm::Intrinsic::fptosi_sat:
      case llvm::Intrinsic::fptoui_sat:
        return Role::kNumber;
      case llvm::Intrinsic::fabs:
        return Role::kPassedOn;
      case llvm::Intrinsic::copysign:
        // The sign of a NaN becomes that of a number.
        return use.getOperandNo() == 0 ? Role::kPassedOn : Role::kSeen;
      default:
        return Role::kSeen;
    }
  }

  // Whether the operand's bits show.
  bool IsSeen(const llvm::Use& use) const {
    const Role role = RoleOf(use);
    return role == Role::kSeen ||
           (role == Role::kPassedOn && seen_.contains(use.getUser()));
  }

  void FindSeen() {
    std::vector<const llvm::Instruction*> work;
    const auto mark = [&](const llvm::Value* value) {
      const auto* const made = llvm::dyn_cast<llvm::Instruction>(value);
      if (made != nullptr && seen_.insert(made).second) work.push_back(made);
    };
    for (const llvm::Instruction& user : llvm::instructions(function_)) {
      for (const llvm::Use& use : user.operands()) {
        if (IsCarrier(use->getType()) && RoleOf(use) == Role::kSeen) mark(use);
      }
    }
    while (!work.empty()) {
      const llvm::Instruction* const user = work.back();
      work.pop_back();
      for (const llvm::Use& use : user->operands()) {
        if (IsCarrier(use->getType()) && RoleOf(use) == Role::kPassedOn) {
          mark(use);
        }
      }
    }
  }

  // Whether the value may be taken for the result of arithmetic: any NaN it
  // may be is canonical.
  bool MayBeClean(const llvm::Value* value) const {
    if (const auto* const constant = llvm::dyn_cast<llvm::Constant>(value)) {
      return ConstantIsClean(constant);
    }
    if (llvm::isa<llvm::SIToFPInst, llvm::UIToFPInst>(value)) return true;
    if (IsTransparent(value)) return !dirty_.contains(value);
    return Uncorrected(value) != nullptr;
  }

  bool ConstantIsClean(const llvm::Constant* constant) const {
    if (IsNumber(constant->getType())) return IsClean(constant);
    // A v128: its halves are what two or one of its lanes are made of.
    const unsigned bits = lanes_->getScalarSizeInBits();
    const llvm::fltSemantics& semantics =
        lanes_->getScalarType()->getFltSemantics();
    for (unsigned half = 0; half < 2; ++half) {
      const auto* const part = llvm::dyn_cast_or_null<llvm::ConstantInt>(
          constant->getAggregateElement(half));
      if (part == nullptr) return false;
      for (unsigned at = 0; at < 64; at += bits) {
        const llvm::APFloat lane(semantics,
                                 part->getValue().extractBits(bits, at));
        if (lane.isNaN() && !IsCanonicalNan(lane)) return false;
      }
    }
    return true;
  }

  // Begins by believing that all are clean, so that loops can be.
  void FindClean() {
    std::vector<const llvm::Instruction*> work;
    for (const llvm::Instruction& value : llvm::instructions(function_)) {
      if (!IsTransparent(&value)) continue;
      for (const llvm::Use& use : value.operands()) {
        if (!IsCarrier(use->getType()) || MayBeClean(use)) continue;
        if (dirty_.insert(&value).second) work.push_back(&value);
        break;
      }
    }
    while (!work.empty()) {
      const llvm::Instruction* const value = work.back();
      work.pop_back();
      for (const llvm::User* const user : value->users()) {
        if (IsTransparent(user) && dirty_.insert(user).second) {
          work.push_back(llvm::cast<llvm::Instruction>(user));
        }
      }
    }
  }

  // Those of the clean that gather corrected values.
  void FindGathering() {
    std::vector<llvm::Value*> work(corrections_.begin(), corrections_.end());
    while (!work.empty()) {
      llvm::Value* const value = work.back();
      work.pop_back();
      for (llvm::User* const user : value->users()) {
        if (IsTransparent(user) && !dirty_.contains(user) &&
            gathering_.insert(llvm::cast<llvm::Instruction>(user))) {
          work.push_back(user);
        }
      }
    }
  }

  // The same without corrections.
  llvm::Value* TwinOf(llvm::Value* value) {
    if (llvm::Value* const x = Uncorrected(value)) return TwinOfOther(x);
    return TwinOfOther(value);
  }
  llvm::Value* TwinOfOther(llvm::Value* value) const {
    const auto known = twins_.find(value);
    return known == twins_.end() ? value : known->second;
  }

  void MakeTwins() {
    for (llvm::Instruction* const value : gathering_) {
      llvm::Instruction* const twin = value->clone();
      twin->insertBefore(value);
      twins_[value] = twin;
    }
    for (llvm::Instruction* const value : gathering_) {
      auto* const twin = llvm::cast<llvm::Instruction>(twins_[value]);
      for (llvm::Use& use : twin->operands()) {
        if (IsCarrier(use->getType())) use.set(TwinOf(use));
      }
    }
  }

  // The uses of `value` that are no twins' become uses of `bare`, which is what
  // it was before correction, or of a correction of that.
  void Rewrite(llvm::Instruction* value, llvm::Value* bare) {
    std::vector<llvm::Use*> uses;
    for (llvm::Use& use : value->uses()) uses.push_back(&use);
    llvm::SmallDenseMap<llvm::BasicBlock*, llvm::Value*, 4> made;
    llvm::BasicBlock* const home = value->getParent();
    const bool keeps = !gathering_.contains(value);
    for (llvm::Use* const use : uses) {
      auto* const user = llvm::cast<llvm::Instruction>(use->getUser());
      if (gathering_.contains(user)) continue;
      if (!IsSeen(*use)) {
        use->set(bare);
        continue;
      }
      const auto* const phi = llvm::dyn_cast<llvm::PHINode>(user);
      llvm::BasicBlock* block =
          phi != nullptr ? phi->getIncomingBlock(*use) : user->getParent();
      if (loops_.getLoopDepth(block) >= loops_.getLoopDepth(home)) {
        if (keeps) continue;
        block = home;
      }
      llvm::Value*& corrected = made[block];
      if (corrected == nullptr) {
        corrected = Correct(bare, *block->getFirstInsertionPt());
      }
      use->set(corrected);
    }
  }

  llvm::Value* Correct(llvm::Value* bare, llvm::Instruction& before) {
    // A select that is not a phi is not there yet where its block begins.
    llvm::Instruction* at = &before;
    auto* const made = llvm::dyn_cast<llvm::Instruction>(bare);
    if (made != nullptr && !llvm::isa<llvm::PHINode>(made) &&
        made->getParent() == at->getParent()) {
      at = made->getNextNonDebugInstruction();
    }
    llvm::IRBuilder<> b(at);
    llvm::Type* const type = bare->getType();
    llvm::Value* x = bare;
    if (lanes_ != nullptr) x = b.CreateBitCast(x, lanes_);
    x = b.CreateSelect(b.CreateFCmpUNO(x, x),
                       llvm::ConstantFP::getQNaN(x->getType()), x);
    return b.CreateBitCast(x, type);
  }

  void Erase() {
    // Nothing but each other uses them any more.
    for (llvm::Instruction* const value : gathering_) {
      value->replaceAllUsesWith(llvm::PoisonValue::get(value->getType()));
    }
    for (llvm::Instruction* const value : gathering_) {
      value->eraseFromParent();
    }
    for (llvm::SelectInst* const correction : corrections_) {
      if (!correction->use_empty()) continue;
      auto* const test =
          llvm::cast<llvm::Instruction>(correction->getCondition());
      correction->eraseFromParent();
      if (test->use_empty()) test->eraseFromParent();
    }
  }

  llvm::Function& function_;
  const llvm::LoopInfo& loops_;
  llvm::Type* const lanes_;
  llvm::Type* plain_ = nullptr;
  std::vector<llvm::SelectInst*> corrections_;
  llvm::DenseSet<const llvm::Value*> seen_;
  llvm::DenseSet<const llvm::Value*> dirty_;
  llvm::SetVector<llvm::Instruction*> gathering_;
  llvm::DenseMap<const llvm::Value*, llvm::Value*> twins_;
};

}  // namespace

void CorrectNansLate(llvm::Function& function, const llvm::LoopInfo& loops) {
  llvm::LLVMContext& context = function.getContext();
  Corrections(function, loops, nullptr).Run();
  Corrections(function, loops,
              llvm::FixedVectorType::get(llvm::Type::getFloatTy(context), 4))
      .Run();
  Corrections(function, loops,
              llvm::FixedVectorType::get(llvm::Type::getDoubleTy(context), 2))
      .Run();
}

namespace {

llvm::MDNode* HardlyEver(llvm::LLVMContext& context) {
  return llvm::MDBuilder(context).createBranchWeights(1, 1 << 20);
}

// The store that alone uses the corrected value; null if there is more.
llvm::StoreInst* OnlyStore(llvm::SelectInst& correction) {
  if (!correction.hasOneUse()) return nullptr;
  auto* const store = llvm::dyn_cast<llvm::StoreInst>(*correction.user_begin());
  return store != nullptr && store->getValueOperand() == &correction ? store
                                                                     : nullptr;
}

// Stores what is not corrected, looks at the bits that are there now, and
// corrects those. Units for floating point are what such code is short of.
void CorrectInMemory(llvm::SelectInst& correction, llvm::StoreInst& store) {
  store.setOperand(0, correction.getFalseValue());
  llvm::IRBuilder<> b(store.getNextNode());
  const auto* const nan =
      llvm::cast<llvm::ConstantFP>(correction.getTrueValue());
  const llvm::APInt canonical = nan->getValueAPF().bitcastToAPInt();
  const unsigned width = canonical.getBitWidth();
  llvm::LoadInst* const bits = b.CreateAlignedLoad(
      b.getIntNTy(width), store.getPointerOperand(), store.getAlign());
  // Or it would be taken from the register after all.
  bits->setVolatile(true);
  const llvm::APInt infinity =
      llvm::APFloat::getInf(nan->getValueAPF().getSemantics()).bitcastToAPInt();
  llvm::Value* const is_nan =
      b.CreateICmpUGT(b.CreateShl(bits, 1), b.getInt(infinity.shl(1)));
  b.SetInsertPoint(llvm::SplitBlockAndInsertIfThen(
      is_nan, b.GetInsertPoint(), /*Unreachable=*/false,
      HardlyEver(store.getContext())));
  b.CreateAlignedStore(b.getInt(canonical), store.getPointerOperand(),
                       store.getAlign());
}

// The value does not wait for the test, and no register holds the NaN.
void CorrectInBranch(llvm::SelectInst& correction) {
  llvm::BasicBlock* const head = correction.getParent();
  // Where the test stands it may have been made long before.
  llvm::IRBuilder<> b(&correction);
  llvm::Value* const number = correction.getFalseValue();
  llvm::Instruction* const end_of_rare = llvm::SplitBlockAndInsertIfThen(
      b.CreateFCmpUNO(number, number), correction.getIterator(),
      /*Unreachable=*/false, HardlyEver(correction.getContext()));
  llvm::PHINode* const value = llvm::PHINode::Create(
      correction.getType(), 2, "", correction.getIterator());
  value->addIncoming(number, head);
  value->addIncoming(correction.getTrueValue(), end_of_rare->getParent());
  correction.replaceAllUsesWith(value);
}

}  // namespace

void BranchForNans(llvm::Function& function) {
  std::vector<llvm::SelectInst*> corrections;
  for (llvm::Instruction& instruction : llvm::instructions(function)) {
    auto* const select = llvm::dyn_cast<llvm::SelectInst>(&instruction);
    if (select == nullptr || !select->getType()->isFloatingPointTy()) continue;
    const auto* const test =
        llvm::dyn_cast<llvm::FCmpInst>(select->getCondition());
    const auto* const nan =
        llvm::dyn_cast<llvm::ConstantFP>(select->getTrueValue());
    if (test == nullptr || test->getPredicate() != llvm::CmpInst::FCMP_UNO ||
        test->getOperand(0) != select->getFalseValue() || nan == nullptr ||
        !IsCanonicalNan(nan->getValueAPF())) {
      continue;
    }
    // InstCombine writes any number for the other operand.
    if (test->getOperand(1) != test->getOperand(0)) {
      const auto* const other =
          llvm::dyn_cast<llvm::ConstantFP>(test->getOperand(1));
      if (other == nullptr || other->isNaN()) continue;
    }
    corrections.push_back(select);
  }
  for (llvm::SelectInst* const select : corrections) {
    llvm::Value* const test = select->getCondition();
    if (llvm::StoreInst* const store = OnlyStore(*select)) {
      CorrectInMemory(*select, *store);
    } else {
      CorrectInBranch(*select);
    }
    select->eraseFromParent();
    if (test->use_empty())
      llvm::cast<llvm::Instruction>(test)->eraseFromParent();
  }
}

}  // namespace callgate::native
