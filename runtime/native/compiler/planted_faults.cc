#include "runtime/native/compiler/planted_faults.h"

#include <atomic>
#include <map>
#include <optional>
#include <vector>

#include "llvm/IR/Constants.h"
#include "llvm/IR/Function.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/LLVMContext.h"
#include "runtime/native/abi.h"
#include "runtime/native/compiler/tampering.h"
#include "runtime/trap.h"

namespace callgate::native {
namespace {

// What is looked for is what the translator writes, before any pass.

const llvm::ConstantInt* AsConstant(const llvm::Value* value) {
  return llvm::dyn_cast<llvm::ConstantInt>(value);
}

bool IsGuestFunction(const llvm::Function& function) {
  const llvm::StringRef name = function.getName();
  return !function.isDeclaration() && name.size() > 1 &&
         (name[0] == 'f' || name[0] == 'b') && name[1] >= '0' && name[1] <= '9';
}

// The trap that a block ends with.
std::optional<TrapCode> TrapOf(const llvm::BasicBlock& block) {
  for (const llvm::Instruction& instruction : block) {
    const auto* const call = llvm::dyn_cast<llvm::CallInst>(&instruction);
    if (call == nullptr || call->getCalledFunction() == nullptr ||
        call->getCalledFunction()->getName() != "trap") {
      continue;
    }
    if (const llvm::ConstantInt* code = AsConstant(call->getArgOperand(1))) {
      return static_cast<TrapCode>(code->getZExtValue());
    }
  }
  return std::nullopt;
}

// The trap behind a conditional branch, taken when its condition holds.
std::optional<TrapCode> GuardOf(const llvm::Instruction& instruction) {
  const auto* const branch = llvm::dyn_cast<llvm::BranchInst>(&instruction);
  if (branch == nullptr || !branch->isConditional()) return std::nullopt;
  return TrapOf(*branch->getSuccessor(0));
}

// The offset of the field that a call's target was loaded from.
std::optional<uint64_t> OffsetOfCallee(const llvm::CallInst& call) {
  const auto* const code =
      llvm::dyn_cast<llvm::LoadInst>(call.getCalledOperand());
  if (code == nullptr) return std::nullopt;
  const auto* const place =
      llvm::dyn_cast<llvm::GetElementPtrInst>(code->getPointerOperand());
  if (place == nullptr || place->getNumIndices() != 1) return std::nullopt;
  const llvm::ConstantInt* const offset = AsConstant(place->getOperand(1));
  if (offset == nullptr) return std::nullopt;
  return offset->getZExtValue();
}

bool CallsMemoryCopy(const llvm::CallInst& call) {
  // Its arguments tell it from a call of the function that a field at the same
  // offset of another structure holds.
  return call.arg_size() == 6 &&
         OffsetOfCallee(call) ==
             static_cast<uint64_t>(Builtin::kMemoryCopy) * 8;
}

bool IsInvariant(const llvm::LoadInst& load) {
  return load.hasMetadata(llvm::LLVMContext::MD_invariant_load);
}

class Planter {
 public:
  Planter(PlantedFault fault, bool fuel) : fault_(fault), fuel_(fuel) {}

  uint64_t Plant(llvm::Module& module) {
    for (llvm::Function& function : module) {
      if (fault_ == PlantedFault::kHostArgumentsSwapped) {
        SwapHostArguments(function);
      } else if (IsGuestFunction(function)) {
        Plant(function);
      }
    }
    return places_;
  }

 private:
  void Plant(llvm::Function& function) {
    length_seen_ = false;
    std::vector<llvm::Instruction*> all;
    for (llvm::Instruction& instruction : llvm::instructions(function)) {
      all.push_back(&instruction);
    }
    for (llvm::Instruction* const instruction : all) Plant(*instruction);
  }

  void Replace(llvm::Instruction& old, llvm::Value* with) {
    old.replaceAllUsesWith(with);
    old.eraseFromParent();
    ++places_;
  }

  void Plant(llvm::Instruction& instruction) {
    llvm::IRBuilder<> b(&instruction);
    switch (fault_) {
      case PlantedFault::kSignedCompareAsUnsigned: {
        auto* const compare = llvm::dyn_cast<llvm::ICmpInst>(&instruction);
        // Not less-than, which the budget of the tests' loops is checked by.
        if (compare == nullptr || !compare->isSigned() ||
            compare->getPredicate() == llvm::CmpInst::ICMP_SLT ||
            !compare->getOperand(0)->getType()->isIntegerTy(32)) {
          return;
        }
        compare->setPredicate(compare->getUnsignedPredicate());
        ++places_;
        return;
      }
      case PlantedFault::kWideShiftMaskOfNarrow: {
        if (!instruction.isShift() || !instruction.getType()->isIntegerTy(64)) {
          return;
        }
        auto* const mask =
            llvm::dyn_cast<llvm::BinaryOperator>(instruction.getOperand(1));
        if (mask == nullptr || mask->getOpcode() != llvm::Instruction::And) {
          return;
        }
        instruction.setOperand(
            1, b.CreateAnd(mask->getOperand(0), b.getInt64(31)));
        ++places_;
        return;
      }
      case PlantedFault::kLoad8SignedZeroExtends: {
        auto* const extend = llvm::dyn_cast<llvm::SExtInst>(&instruction);
        if (extend == nullptr ||
            !extend->getOperand(0)->getType()->isIntegerTy(8) ||
            !llvm::isa<llvm::LoadInst>(extend->getOperand(0))) {
          return;
        }
        return Replace(instruction,
                       b.CreateZExt(extend->getOperand(0), extend->getType()));
      }
      case PlantedFault::kMemoryBoundTooStrict: {
        if (GuardOf(instruction) != TrapCode::kMemoryOutOfBounds) return;
        auto* const compare =
            llvm::dyn_cast<llvm::ICmpInst>(instruction.getOperand(0));
        if (compare == nullptr ||
            compare->getPredicate() != llvm::CmpInst::ICMP_UGT) {
          return;
        }
        compare->setPredicate(llvm::CmpInst::ICMP_UGE);
        ++places_;
        return;
      }
      case PlantedFault::kTableBoundTooLoose: {
        const std::optional<TrapCode> trap = GuardOf(instruction);
        if (trap != TrapCode::kUndefinedElement &&
            trap != TrapCode::kTableOutOfBounds) {
          return;
        }
        auto* const compare =
            llvm::dyn_cast<llvm::ICmpInst>(instruction.getOperand(0));
        if (compare == nullptr) return;
        compare->setPredicate(llvm::CmpInst::ICMP_UGT);
        ++places_;
        return;
      }
      case PlantedFault::kDivisionOverflowWraps: {
        if (GuardOf(instruction) != TrapCode::kIntegerOverflow) return;
        auto* const branch = llvm::cast<llvm::BranchInst>(&instruction);
        llvm::Value* const overflow = branch->getCondition();
        for (llvm::Instruction& next : *branch->getSuccessor(1)) {
          if (next.getOpcode() != llvm::Instruction::SDiv) continue;
          b.SetInsertPoint(&next);
          next.setOperand(
              1, b.CreateSelect(overflow,
                                llvm::ConstantInt::get(next.getType(), 1),
                                next.getOperand(1)));
          branch->setCondition(b.getFalse());
          ++places_;
          return;
        }
        return;
      }
      case PlantedFault::kNanNotCanonical: {
        auto* const select = llvm::dyn_cast<llvm::SelectInst>(&instruction);
        if (select == nullptr) return;
        const auto* const compare =
            llvm::dyn_cast<llvm::FCmpInst>(select->getCondition());
        if (compare == nullptr ||
            compare->getPredicate() != llvm::CmpInst::FCMP_UNO ||
            compare->getOperand(0) != select->getFalseValue()) {
          return;
        }
        return Replace(instruction, select->getFalseValue());
      }
      case PlantedFault::kSelectArmsSwapped: {
        auto* const select = llvm::dyn_cast<llvm::SelectInst>(&instruction);
        if (select == nullptr) return;
        const auto* const compare =
            llvm::dyn_cast<llvm::ICmpInst>(select->getCondition());
        if (compare == nullptr ||
            compare->getPredicate() != llvm::CmpInst::ICMP_NE) {
          return;
        }
        select->swapValues();
        ++places_;
        return;
      }
      case PlantedFault::kBranchTableDefaultIsFirst: {
        auto* const jump = llvm::dyn_cast<llvm::SwitchInst>(&instruction);
        if (jump == nullptr || jump->getNumCases() == 0) return;
        llvm::Value* const index = jump->getCondition();
        llvm::Value* const beyond =
            b.CreateICmpUGE(index, b.getInt32(jump->getNumCases()));
        jump->setCondition(b.CreateSelect(beyond, b.getInt32(0), index));
        ++places_;
        return;
      }
      case PlantedFault::kNarrowStoreLost: {
        const auto* const store = llvm::dyn_cast<llvm::StoreInst>(&instruction);
        if (store == nullptr ||
            !store->getValueOperand()->getType()->isIntegerTy(16)) {
          return;
        }
        instruction.eraseFromParent();
        ++places_;
        return;
      }
      case PlantedFault::kFuelChargedShort: {
        if (instruction.getOpcode() != llvm::Instruction::Sub) return;
        const auto* const load =
            llvm::dyn_cast<llvm::LoadInst>(instruction.getOperand(0));
        const llvm::ConstantInt* const cost =
            AsConstant(instruction.getOperand(1));
        const llvm::Instruction* const fuel =
            &instruction.getFunction()->getEntryBlock().front();
        if (load == nullptr || load->getPointerOperand() != fuel ||
            cost == nullptr || cost->getZExtValue() < 2) {
          return;
        }
        instruction.setOperand(1, b.getInt64(cost->getZExtValue() - 1));
        ++places_;
        return;
      }
      case PlantedFault::kMemoryCopyReversed: {
        auto* const call = llvm::dyn_cast<llvm::CallInst>(&instruction);
        if (call == nullptr || !CallsMemoryCopy(*call)) {
          return;
        }
        SwapArguments(*call, 1, 2);
        SwapArguments(*call, 3, 4);
        ++places_;
        return;
      }
      case PlantedFault::kMemoryLengthStale: {
        const auto* const store = llvm::dyn_cast<llvm::StoreInst>(&instruction);
        if (store == nullptr ||
            !llvm::isa<llvm::AllocaInst>(store->getPointerOperand()) ||
            // The fuel, which is in a structure at the same offset.
            store->getPointerOperand() ==
                &instruction.getFunction()->getEntryBlock().front()) {
          return;
        }
        const auto* const length =
            llvm::dyn_cast<llvm::LoadInst>(store->getValueOperand());
        if (length == nullptr || !length->getType()->isIntegerTy(64)) return;
        const auto* const field = llvm::dyn_cast<llvm::GetElementPtrInst>(
            length->getPointerOperand());
        if (field == nullptr) return;
        const auto* const memory =
            llvm::dyn_cast<llvm::LoadInst>(field->getPointerOperand());
        if (memory == nullptr || !IsInvariant(*memory)) return;
        // The function's beginning has to know it.
        if (!length_seen_) {
          length_seen_ = true;
          return;
        }
        instruction.eraseFromParent();
        ++places_;
        return;
      }
      case PlantedFault::kMinimumIgnoresNan:
        return ReplaceIntrinsic(instruction, llvm::Intrinsic::minimum,
                                llvm::Intrinsic::minnum);
      case PlantedFault::kUnsignedConversionIsSigned: {
        auto* const convert = llvm::dyn_cast<llvm::UIToFPInst>(&instruction);
        if (convert == nullptr ||
            !convert->getOperand(0)->getType()->isIntegerTy(64)) {
          return;
        }
        return Replace(instruction, b.CreateSIToFP(convert->getOperand(0),
                                                   convert->getType()));
      }
      case PlantedFault::kSaturationIsSigned:
        return ReplaceIntrinsic(instruction, llvm::Intrinsic::usub_sat,
                                llvm::Intrinsic::ssub_sat);
      case PlantedFault::kRotateTheOtherWay:
        return ReplaceIntrinsic(instruction, llvm::Intrinsic::fshl,
                                llvm::Intrinsic::fshr);
      case PlantedFault::kWrongTrapCode: {
        auto* const call = llvm::dyn_cast<llvm::CallInst>(&instruction);
        if (call == nullptr || call->arg_size() != 4 ||
            TrapOf(*call->getParent()) != TrapCode::kUninitializedElement) {
          return;
        }
        call->setArgOperand(
            1, b.getInt32(static_cast<uint32_t>(TrapCode::kUndefinedElement)));
        ++places_;
        return;
      }
      case PlantedFault::kGlobalWriteLost: {
        const auto* const store = llvm::dyn_cast<llvm::StoreInst>(&instruction);
        if (store == nullptr ||
            !store->getValueOperand()->getType()->isDoubleTy()) {
          return;
        }
        const auto* const cell =
            llvm::dyn_cast<llvm::GetElementPtrInst>(store->getPointerOperand());
        if (cell == nullptr ||
            cell->getPointerOperand() != instruction.getFunction()->getArg(0)) {
          return;
        }
        instruction.eraseFromParent();
        ++places_;
        return;
      }
      case PlantedFault::kHostArgumentsSwapped:
      case PlantedFault::kCount:
        return;
    }
  }

  static void SwapArguments(llvm::CallInst& call, unsigned one,
                            unsigned other) {
    llvm::Value* const kept = call.getArgOperand(one);
    call.setArgOperand(one, call.getArgOperand(other));
    call.setArgOperand(other, kept);
  }

  void ReplaceIntrinsic(llvm::Instruction& instruction, llvm::Intrinsic::ID old,
                        llvm::Intrinsic::ID with) {
    auto* const call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
    if (call == nullptr || call->getIntrinsicID() != old) return;
    llvm::IRBuilder<> b(&instruction);
    const std::vector<llvm::Value*> args(call->arg_begin(), call->arg_end());
    Replace(instruction, b.CreateIntrinsic(with, {call->getType()}, args));
  }

  // In the thunk that leads to host functions of a type.
  void SwapHostArguments(llvm::Function& function) {
    const llvm::StringRef name = function.getName();
    const unsigned first = fuel_ ? 2 : 1;
    if (function.isDeclaration() || name.size() < 2 || name[0] != 't' ||
        name[1] < '0' || name[1] > '9' || function.arg_size() < first + 2) {
      return;
    }
    llvm::Argument* const one = function.getArg(first);
    llvm::Argument* const other = function.getArg(first + 1);
    if (one->getType() != other->getType()) return;
    for (llvm::Instruction& instruction : llvm::instructions(function)) {
      for (llvm::Use& use : instruction.operands()) {
        if (use.get() == one) {
          use.set(other);
        } else if (use.get() == other) {
          use.set(one);
        }
      }
    }
    ++places_;
  }

  const PlantedFault fault_;
  const bool fuel_;
  bool length_seen_ = false;
  uint64_t places_ = 0;
};

// Whether a block calls Builtin::kCheckStack.
bool ChecksStack(const llvm::BasicBlock& block) {
  for (const llvm::Instruction& instruction : block) {
    const auto* const call = llvm::dyn_cast<llvm::CallInst>(&instruction);
    if (call == nullptr || call->arg_size() != 3) continue;
    if (OffsetOfCallee(*call) ==
        static_cast<uint64_t>(Builtin::kCheckStack) * 8) {
      return true;
    }
  }
  return false;
}

void DropChecks(llvm::Module& module) {
  for (llvm::Function& function : module) {
    if (!IsGuestFunction(function)) continue;
    for (llvm::BasicBlock& block : function) {
      auto* const branch =
          llvm::dyn_cast_or_null<llvm::BranchInst>(block.getTerminator());
      if (branch == nullptr || !branch->isConditional()) continue;
      if (ChecksStack(*branch->getSuccessor(0)) ||
          GuardOf(*branch) == TrapCode::kMemoryOutOfBounds) {
        branch->setCondition(llvm::ConstantInt::getFalse(module.getContext()));
      }
    }
  }
}

}  // namespace

absl::string_view PlantedFaultName(PlantedFault fault) {
  switch (fault) {
    case PlantedFault::kSignedCompareAsUnsigned:
      return "signed_compare_as_unsigned";
    case PlantedFault::kWideShiftMaskOfNarrow:
      return "wide_shift_mask_of_narrow";
    case PlantedFault::kLoad8SignedZeroExtends:
      return "load8_signed_zero_extends";
    case PlantedFault::kMemoryBoundTooStrict:
      return "memory_bound_too_strict";
    case PlantedFault::kTableBoundTooLoose:
      return "table_bound_too_loose";
    case PlantedFault::kDivisionOverflowWraps:
      return "division_overflow_wraps";
    case PlantedFault::kNanNotCanonical:
      return "nan_not_canonical";
    case PlantedFault::kSelectArmsSwapped:
      return "select_arms_swapped";
    case PlantedFault::kBranchTableDefaultIsFirst:
      return "branch_table_default_is_first";
    case PlantedFault::kNarrowStoreLost:
      return "narrow_store_lost";
    case PlantedFault::kFuelChargedShort:
      return "fuel_charged_short";
    case PlantedFault::kMemoryCopyReversed:
      return "memory_copy_reversed";
    case PlantedFault::kMemoryLengthStale:
      return "memory_length_stale";
    case PlantedFault::kMinimumIgnoresNan:
      return "minimum_ignores_nan";
    case PlantedFault::kUnsignedConversionIsSigned:
      return "unsigned_conversion_is_signed";
    case PlantedFault::kSaturationIsSigned:
      return "saturation_is_signed";
    case PlantedFault::kRotateTheOtherWay:
      return "rotate_the_other_way";
    case PlantedFault::kWrongTrapCode:
      return "wrong_trap_code";
    case PlantedFault::kGlobalWriteLost:
      return "global_write_lost";
    case PlantedFault::kHostArgumentsSwapped:
      return "host_arguments_swapped";
    case PlantedFault::kCount:
      break;
  }
  return "none";
}

absl::StatusOr<std::string> CompileWithoutChecks(
    const CompileRequest& request, absl::Span<const uint8_t> module) {
  return CompileTampered(request, module, &DropChecks);
}

absl::StatusOr<FaultyCode> CompileWithFault(PlantedFault fault,
                                            const CompileRequest& request,
                                            absl::Span<const uint8_t> module) {
  std::atomic<uint64_t> places{0};
  absl::StatusOr<std::string> answer =
      CompileTampered(request, module, [&](llvm::Module& translated) {
        places += Planter(fault, request.fuel).Plant(translated);
      });
  if (!answer.ok()) return answer.status();
  return FaultyCode{*std::move(answer), places.load()};
}

}  // namespace callgate::native
