#include "runtime/native/compiler/bounds_checks.h"

#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Analysis/ScalarEvolutionExpressions.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Instructions.h"
#include "runtime/trap.h"

namespace callgate::native {
namespace {

struct Check {
  llvm::BranchInst* branch = nullptr;
  bool traps_if = true;  // the condition's value that leads to the trap
  llvm::Value* end = nullptr;
  llvm::Value* length = nullptr;
};

// Whether nothing happens in `block` but a trap for an access out of bounds.
bool IsTrap(const llvm::BasicBlock& block) {
  if (!llvm::isa<llvm::UnreachableInst>(block.getTerminator())) return false;
  for (const llvm::Instruction& instruction : block) {
    const auto* const call = llvm::dyn_cast<llvm::CallInst>(&instruction);
    if (call == nullptr) continue;
    const llvm::Function* const callee = call->getCalledFunction();
    const auto* const code =
        call->arg_size() == 4
            ? llvm::dyn_cast<llvm::ConstantInt>(call->getArgOperand(1))
            : nullptr;
    return callee != nullptr && callee->getName() == "trap" &&
           code != nullptr &&
           code->equalsInt(static_cast<uint64_t>(TrapCode::kMemoryOutOfBounds));
  }
  return false;
}

std::optional<Check> CheckAtEndOf(llvm::BasicBlock& block) {
  Check check;
  check.branch = llvm::dyn_cast<llvm::BranchInst>(block.getTerminator());
  if (check.branch == nullptr || !check.branch->isConditional()) return {};
  if (check.branch->getSuccessor(0) == check.branch->getSuccessor(1)) return {};
  const auto* const compare =
      llvm::dyn_cast<llvm::ICmpInst>(check.branch->getCondition());
  if (compare == nullptr ||
      !compare->getOperand(0)->getType()->isIntegerTy(64)) {
    return {};
  }
  check.traps_if = IsTrap(*check.branch->getSuccessor(0));
  if (!check.traps_if && !IsTrap(*check.branch->getSuccessor(1))) return {};
  const llvm::CmpInst::Predicate traps =
      check.traps_if ? compare->getPredicate() : compare->getInversePredicate();
  check.end = compare->getOperand(0);
  check.length = compare->getOperand(1);
  if (traps == llvm::CmpInst::ICMP_UGT) return check;
  if (traps != llvm::CmpInst::ICMP_ULT) return {};
  std::swap(check.end, check.length);
  return check;
}

class Remover {
 public:
  explicit Remover(llvm::ScalarEvolution& scalars) : scalars_(scalars) {}

  int removed() const { return removed_; }

  // Blocks in an order in which each comes behind what dominates it; `Leave`
  // once all that it dominates came.
  void Enter(llvm::BasicBlock& block) {
    marks_.push_back(undo_.size());
    // What its only predecessor checked before going here holds here.
    const std::optional<Check> check = CheckAtEndOf(block);
    if (!check.has_value()) return;
    const llvm::SCEV* const end = scalars_.getSCEV(check->end);
    const llvm::SCEV* const length = scalars_.getSCEV(check->length);
    if (scalars_.getUnsignedRangeMax(end).ule(
            scalars_.getUnsignedRangeMin(length))) {
      Remove(*check);
      return;
    }
    const auto [base, offset] = Split(end);
    // Without a wrap, more is farther.
    if (scalars_.getUnsignedRangeMax(base).getActiveBits() > 62 ||
        (offset < 0 && scalars_.getUnsignedRangeMin(base).ult(
                           llvm::APInt(64, static_cast<uint64_t>(-offset))))) {
      return;
    }
    const Key key = {base, check->length};
    const auto known = reached_.find(key);
    if (known != reached_.end() && known->second >= offset) {
      Remove(*check);
      return;
    }
    // This block ends with the check, so that all it dominates is behind it or
    // is the trap.
    undo_.push_back({key, known == reached_.end() ? kNothing : known->second});
    reached_[key] = offset;
  }

  void Leave() {
    for (; undo_.size() > marks_.back(); undo_.pop_back()) {
      const auto& [key, before] = undo_.back();
      if (before == kNothing) {
        reached_.erase(key);
      } else {
        reached_[key] = before;
      }
    }
    marks_.pop_back();
  }

 private:
  static constexpr int64_t kNothing = std::numeric_limits<int64_t>::min();
  using Key = std::pair<const llvm::SCEV*, const llvm::Value*>;

  // As base + offset.
  std::pair<const llvm::SCEV*, int64_t> Split(const llvm::SCEV* end) {
    const llvm::SCEV* first = end;
    if (const auto* steps = llvm::dyn_cast<llvm::SCEVAddRecExpr>(end)) {
      first = steps->getStart();
    }
    const auto* constant = llvm::dyn_cast<llvm::SCEVConstant>(first);
    if (const auto* sum = llvm::dyn_cast<llvm::SCEVAddExpr>(first)) {
      constant = llvm::dyn_cast<llvm::SCEVConstant>(sum->getOperand(0));
    }
    if (constant == nullptr || constant->getAPInt().getSignificantBits() > 62) {
      return {end, 0};
    }
    return {scalars_.getMinusSCEV(end, constant),
            constant->getAPInt().getSExtValue()};
  }

  void Remove(const Check& check) {
    check.branch->setCondition(llvm::ConstantInt::getBool(
        check.branch->getContext(), !check.traps_if));
    ++removed_;
  }

  llvm::ScalarEvolution& scalars_;
  // How far behind a base all is within a length.
  llvm::DenseMap<Key, int64_t> reached_;
  std::vector<std::pair<Key, int64_t>> undo_;
  std::vector<size_t> marks_;
  int removed_ = 0;
};

// A check of base + `offset`.
struct Sum {
  llvm::Value* base = nullptr;
  uint64_t offset = 0;
};

// `end` as a 32-bit address and a small offset, if it is one.
std::optional<Sum> AsSum(llvm::Value* end) {
  const auto* const add = llvm::dyn_cast<llvm::BinaryOperator>(end);
  if (add == nullptr || add->getOpcode() != llvm::Instruction::Add) return {};
  const auto* const offset =
      llvm::dyn_cast<llvm::ConstantInt>(add->getOperand(1));
  const auto* const wide = llvm::dyn_cast<llvm::ZExtInst>(add->getOperand(0));
  if (offset == nullptr || wide == nullptr ||
      wide->getSrcTy()->getIntegerBitWidth() > 32 ||
      offset->getValue().getActiveBits() > 33) {
    return {};
  }
  return Sum{add->getOperand(0), offset->getZExtValue()};
}

}  // namespace

void CompareWithLimits(llvm::Function& function, const llvm::LoopInfo& loops) {
  struct Use {
    Check check;
    Sum sum;
  };
  llvm::MapVector<std::pair<llvm::Value*, uint64_t>, std::vector<Use>> limits;
  for (llvm::BasicBlock& block : function) {
    const std::optional<Check> check = CheckAtEndOf(block);
    if (!check.has_value()) continue;
    const std::optional<Sum> sum = AsSum(check->end);
    if (!sum.has_value()) continue;
    // The length is loaded, or a phi of loads, which are in range: no wrap.
    if (!llvm::isa<llvm::LoadInst, llvm::PHINode>(check->length)) continue;
    limits[{check->length, sum->offset}].push_back({*check, *sum});
  }
  for (const auto& [limit, uses] : limits) {
    auto* const length = llvm::cast<llvm::Instruction>(limit.first);
    const unsigned depth = loops.getLoopDepth(length->getParent());
    const auto is_deeper = [&](const Use& use) {
      return loops.getLoopDepth(use.check.branch->getParent()) > depth;
    };
    if (uses.size() < 2 && !is_deeper(uses[0])) continue;
    llvm::IRBuilder<> b(llvm::isa<llvm::PHINode>(length)
                            ? &*length->getParent()->getFirstInsertionPt()
                            : length->getNextNonDebugInstruction());
    llvm::Value* const most = b.CreateSub(length, b.getInt64(limit.second));
    for (const Use& use : uses) {
      b.SetInsertPoint(use.check.branch);
      use.check.branch->setCondition(use.check.traps_if
                                         ? b.CreateICmpSGT(use.sum.base, most)
                                         : b.CreateICmpSLE(use.sum.base, most));
    }
  }
}

int RemoveBoundsChecks(const llvm::DominatorTree& dominators,
                       llvm::ScalarEvolution& scalars) {
  Remover remover(scalars);
  using Node = const llvm::DomTreeNode*;
  struct Visit {
    Node node;
    llvm::DomTreeNode::const_iterator next;
  };
  std::vector<Visit> path;
  const Node root = dominators.getRootNode();
  remover.Enter(*root->getBlock());
  path.push_back({root, root->begin()});
  while (!path.empty()) {
    Visit& visit = path.back();
    if (visit.next == visit.node->end()) {
      remover.Leave();
      path.pop_back();
      continue;
    }
    const Node child = *visit.next++;
    remover.Enter(*child->getBlock());
    path.push_back({child, child->begin()});
  }
  return remover.removed();
}

}  // namespace callgate::native
