#include "runtime/native/compiler/bounds_checks.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "llvm/Analysis/AssumptionCache.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/SourceMgr.h"
#include "runtime/trap.h"

namespace callgate::native {
namespace {

// A check at the end of the block before, and the block behind it.
std::string Check(const std::string& name, const std::string& condition) {
  return absl::StrCat("br i1 ", condition, ", label %trap_", name, ", label %",
                      name, "\ntrap_", name,
                      ":\ncall void @trap(ptr %context, i32 ",
                      static_cast<int>(TrapCode::kMemoryOutOfBounds),
                      ", i64 1, i64 0)\nunreachable\n", name, ":\n");
}

class BoundsChecksTest : public ::testing::Test {
 protected:
  // `body` of a function of the addresses %a and %b and a memory of at least
  // a page, whose length is %length. Returns how many checks went.
  int Remove(const std::string& body) {
    Parse(body);
    llvm::DominatorTree dominators(*function_);
    llvm::LoopInfo loops(dominators);
    llvm::TargetLibraryInfoImpl known;
    llvm::TargetLibraryInfo library(known);
    llvm::AssumptionCache assumptions(*function_);
    llvm::ScalarEvolution scalars(*function_, library, assumptions, dominators,
                                  loops);
    const int removed = RemoveBoundsChecks(dominators, scalars);
    EXPECT_FALSE(llvm::verifyFunction(*function_, &llvm::errs()));
    return removed;
  }

  void Parse(const std::string& body) {
    llvm::SMDiagnostic error;
    module_ = llvm::parseAssemblyString(absl::StrCat(R"(
          declare void @trap(ptr, i32, i64, i64)
          declare void @host()
          define void @f(ptr %context, ptr %memory, i32 %a, i32 %b) {
          entry:
            %length = load i64, ptr %memory, !range !0
            %wide_a = zext i32 %a to i64
            %wide_b = zext i32 %b to i64
          )",
                                                     body, R"(
            ret void
          }
          !0 = !{i64 65536, i64 281474976710657})"),
                                        error, context_);
    ASSERT_NE(module_, nullptr) << error.getMessage().str();
    function_ = module_->getFunction("f");
  }

  llvm::LLVMContext context_;
  std::unique_ptr<llvm::Module> module_;
  llvm::Function* function_ = nullptr;
};

TEST_F(BoundsChecksTest, WhatTheFirstPageHoldsNeedsNone) {
  EXPECT_EQ(Remove(absl::StrCat(R"(
      %low = and i64 %wide_a, 65535
      %end = add i64 %low, 1
      %out = icmp ugt i64 %end, %length)",
                                "\n", Check("x", "%out"))),
            1);
}

TEST_F(BoundsChecksTest, OneByteMoreDoes) {
  EXPECT_EQ(Remove(absl::StrCat(R"(
      %low = and i64 %wide_a, 65535
      %end = add i64 %low, 2
      %out = icmp ugt i64 %end, %length)",
                                "\n", Check("x", "%out"))),
            0);
}

TEST_F(BoundsChecksTest, TheSameAddressIsCheckedOnce) {
  EXPECT_EQ(Remove(absl::StrCat(R"(
      %end = add i64 %wide_a, 8
      %out = icmp ugt i64 %end, %length)",
                                "\n", Check("x", "%out"), R"(
      %less = add i64 %wide_a, 4
      %out2 = icmp ugt i64 %less, %length)",
                                "\n", Check("y", "%out2"))),
            1);
}

TEST_F(BoundsChecksTest, FartherIsCheckedAgain) {
  EXPECT_EQ(Remove(absl::StrCat(R"(
      %end = add i64 %wide_a, 8
      %out = icmp ugt i64 %end, %length)",
                                "\n", Check("x", "%out"), R"(
      %more = add i64 %wide_a, 9
      %out2 = icmp ugt i64 %more, %length)",
                                "\n", Check("y", "%out2"))),
            0);
}

TEST_F(BoundsChecksTest, AnotherAddressIsChecked) {
  EXPECT_EQ(Remove(absl::StrCat(R"(
      %end = add i64 %wide_a, 8
      %out = icmp ugt i64 %end, %length)",
                                "\n", Check("x", "%out"), R"(
      %other = add i64 %wide_b, 8
      %out2 = icmp ugt i64 %other, %length)",
                                "\n", Check("y", "%out2"))),
            0);
}

// The 32-bit sum may have wrapped.
TEST_F(BoundsChecksTest, ASumOf32BitsIsAnotherAddress) {
  EXPECT_EQ(Remove(absl::StrCat(R"(
      %end = add i64 %wide_a, 8
      %out = icmp ugt i64 %end, %length)",
                                "\n", Check("x", "%out"), R"(
      %sum = sub i32 %a, 4
      %wide = zext i32 %sum to i64
      %less = add i64 %wide, 8
      %out2 = icmp ugt i64 %less, %length)",
                                "\n", Check("y", "%out2"))),
            0);
}

TEST_F(BoundsChecksTest, AnotherLengthIsAsked) {
  EXPECT_EQ(Remove(absl::StrCat(R"(
      %end = add i64 %wide_a, 8
      %out = icmp ugt i64 %end, %length)",
                                "\n", Check("x", "%out"), R"(
      call void @host()
      %later = load i64, ptr %memory, !range !0
      %out2 = icmp ugt i64 %end, %later)",
                                "\n", Check("y", "%out2"))),
            0);
}

TEST_F(BoundsChecksTest, WhatDoesNotDominateDoesNotHelp) {
  EXPECT_EQ(Remove(absl::StrCat(R"(
      %end = add i64 %wide_a, 8
      %choice = icmp eq i32 %b, 0
      br i1 %choice, label %one, label %join
    one:
      %out = icmp ugt i64 %end, %length)",
                                "\n", Check("x", "%out"), R"(
      br label %join
    join:
      %out2 = icmp ugt i64 %end, %length)",
                                "\n", Check("y", "%out2"))),
            0);
}

std::string Loop(int last) {
  return absl::StrCat(R"(
      br label %loop
    loop:
      %i = phi i32 [ 0, %entry ], [ %next, %x ]
      %wide = zext i32 %i to i64
      %end = add i64 %wide, 8
      %out = icmp ugt i64 %end, %length)",
                      "\n", Check("x", "%out"), R"(
      %next = add i32 %i, 8
      %more = icmp ne i32 %next, )",
                      last, R"(
      br i1 %more, label %loop, label %done
    done:
    )");
}

TEST_F(BoundsChecksTest, ALoopThatStaysInThePageNeedsNone) {
  EXPECT_EQ(Remove(Loop(65536)), 1);
}

TEST_F(BoundsChecksTest, ALoopThatLeavesThePageDoes) {
  EXPECT_EQ(Remove(Loop(65544)), 0);
}

TEST_F(BoundsChecksTest, LimitsAreComputedOutsideOfLoops) {
  Parse(Loop(65544));
  const llvm::DominatorTree dominators(*function_);
  const llvm::LoopInfo loops(dominators);
  CompareWithLimits(*function_, loops);
  EXPECT_FALSE(llvm::verifyFunction(*function_, &llvm::errs()));
  int limits = 0;
  for (const llvm::Instruction& instruction : function_->getEntryBlock()) {
    if (instruction.getOpcode() == llvm::Instruction::Sub) ++limits;
  }
  EXPECT_EQ(limits, 1);
  for (const llvm::BasicBlock& block : *function_) {
    if (block.getName() != "loop") continue;
    const auto* const branch =
        llvm::cast<llvm::BranchInst>(block.getTerminator());
    const auto* const compare =
        llvm::cast<llvm::ICmpInst>(branch->getCondition());
    EXPECT_EQ(compare->getPredicate(), llvm::CmpInst::ICMP_SGT);
  }
}

}  // namespace
}  // namespace callgate::native
