#include "runtime/native/compiler/canonical_nans.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/SourceMgr.h"

namespace callgate::native {
namespace {

constexpr char kNan[] = "0x7FF8000000000000";

// Parses `text`, runs the pass, and counts the corrections that each block has.
class CanonicalNansTest : public ::testing::Test {
 protected:
  void Run(const std::string& text) {
    llvm::SMDiagnostic error;
    module_ = llvm::parseAssemblyString(text, error, context_);
    ASSERT_NE(module_, nullptr) << error.getMessage().str();
    for (llvm::Function& function : *module_) {
      if (function.isDeclaration()) continue;
      llvm::DominatorTree dominators(function);
      const llvm::LoopInfo loops(dominators);
      CorrectNansLate(function, loops);
      EXPECT_FALSE(llvm::verifyFunction(function, &llvm::errs()));
      function_ = &function;
    }
  }

  // How often `block` tests for NaN.
  int Corrections(const std::string& block) const {
    int count = 0;
    for (const llvm::BasicBlock& each : *function_) {
      if (each.getName() != block) continue;
      for (const llvm::Instruction& instruction : each) {
        const auto* const test = llvm::dyn_cast<llvm::FCmpInst>(&instruction);
        if (test != nullptr &&
            test->getPredicate() == llvm::CmpInst::FCMP_UNO) {
          ++count;
        }
      }
    }
    return count;
  }

  llvm::LLVMContext context_;
  std::unique_ptr<llvm::Module> module_;
  llvm::Function* function_ = nullptr;
};

// A loop that adds %x to a sum that begins with `first`, and then `end`.
std::string Sum(const std::string& first, const std::string& end) {
  return absl::StrCat(R"(
    declare double @llvm.copysign.f64(double, double)
    declare double @llvm.fabs.f64(double)
    define i32 @f(double %x, ptr %p) {
    entry:
      %raw = load double, ptr %p
      br label %loop
    loop:
      %sum = phi double [ )",
                      first, R"(, %entry ], [ %next, %loop ]
      %added = fadd double %sum, %x
      %isnan = fcmp uno double %added, %added
      %next = select i1 %isnan, double )",
                      kNan, R"(, double %added
      %more = fcmp olt double %next, 1.0e9
      br i1 %more, label %loop, label %end
    end:
    )",
                      end, "\n ret i32 0\n }");
}

TEST_F(CanonicalNansTest, ASumIsCorrectedBehindItsLoop) {
  Run(Sum("0.0", "store double %next, ptr %p"));
  EXPECT_EQ(Corrections("loop"), 0);
  EXPECT_EQ(Corrections("end"), 1);
}

TEST_F(CanonicalNansTest, ThePhiOfASumIsToo) {
  Run(Sum("0x7FF8000000000000", "store double %sum, ptr %p"));
  EXPECT_EQ(Corrections("loop"), 0);
  EXPECT_EQ(Corrections("end"), 1);
}

TEST_F(CanonicalNansTest, WhatNobodySeesIsNot) {
  Run(Sum("%raw", ""));
  EXPECT_EQ(Corrections("loop"), 0);
  EXPECT_EQ(Corrections("end"), 0);
}

TEST_F(CanonicalNansTest, LoadedBitsAreKept) {
  Run(Sum("%raw", "store double %sum, ptr %p"));
  EXPECT_EQ(Corrections("loop"), 1);
  EXPECT_EQ(Corrections("end"), 0);
}

TEST_F(CanonicalNansTest, OtherNansAreKept) {
  Run(Sum("0x7FF8000000000001", "store double %sum, ptr %p"));
  EXPECT_EQ(Corrections("loop"), 1);
  EXPECT_EQ(Corrections("end"), 0);
}

TEST_F(CanonicalNansTest, SignsShowThroughCopysign) {
  Run(Sum("0.0",
          R"(%y = call double @llvm.copysign.f64(double 1.0, double %next)
                    %z = fcmp olt double %y, 0.0
                    %w = zext i1 %z to i32
                    store i32 %w, ptr %p)"));
  EXPECT_EQ(Corrections("loop"), 0);
  EXPECT_EQ(Corrections("end"), 1);
}

TEST_F(CanonicalNansTest, OfWhatIsComparedTheSignDoesNotShow) {
  Run(Sum("0.0", R"(%y = call double @llvm.fabs.f64(double %next)
                    %z = fcmp olt double %y, 0.0
                    %w = zext i1 %z to i32
                    store i32 %w, ptr %p)"));
  EXPECT_EQ(Corrections("loop"), 0);
  EXPECT_EQ(Corrections("end"), 0);
}

TEST_F(CanonicalNansTest, NoCorrectionGoesIntoALoop) {
  Run(absl::StrCat(R"(
    define void @f(double %x, ptr %p, i32 %n) {
    entry:
      %added = fadd double %x, %x
      %isnan = fcmp uno double %added, %added
      %y = select i1 %isnan, double )",
                   kNan, R"(, double %added
      br label %loop
    loop:
      %i = phi i32 [ %n, %entry ], [ %next, %loop ]
      store double %y, ptr %p
      %next = add i32 %i, -1
      %more = icmp ne i32 %next, 0
      br i1 %more, label %loop, label %end
    end:
      ret void
    })"));
  EXPECT_EQ(Corrections("entry"), 1);
  EXPECT_EQ(Corrections("loop"), 0);
}

// A sum in four lanes, whose phi is a v128; `end` sees %phi.
std::string Lanes(const std::string& end) {
  return absl::StrCat(R"(
    define void @f(<4 x float> %x, ptr %p, i32 %n) {
    entry:
      br label %loop
    loop:
      %phi = phi <2 x i64> [ zeroinitializer, %entry ], [ %v, %loop ]
      %i = phi i32 [ %n, %entry ], [ %next, %loop ]
      %sum = bitcast <2 x i64> %phi to <4 x float>
      %added = fadd <4 x float> %sum, %x
      %plain = bitcast <4 x float> %added to <2 x i64>
      %lanes = bitcast <2 x i64> %plain to <4 x float>
      %isnan = fcmp uno <4 x float> %lanes, %lanes
      %y = select <4 x i1> %isnan, <4 x float> <float )",
                      kNan, ", float ", kNan, ", float ", kNan, ", float ",
                      kNan,
                      R"(>, <4 x float> %lanes
      %v = bitcast <4 x float> %y to <2 x i64>
      %next = add i32 %i, -1
      %more = icmp ne i32 %next, 0
      br i1 %more, label %loop, label %end
    end:
    )",
                      end, "\n ret void\n }");
}

TEST_F(CanonicalNansTest, LanesAreFollowedThroughV128) {
  Run(Lanes("store <2 x i64> %phi, ptr %p"));
  EXPECT_EQ(Corrections("loop"), 0);
  EXPECT_EQ(Corrections("end"), 1);
}

TEST_F(CanonicalNansTest, LanesOfAnotherKindSeeTheBits) {
  Run(Lanes(R"(%d = bitcast <2 x i64> %phi to <2 x double>
               %e = fadd <2 x double> %d, %d
               store <2 x double> %e, ptr %p)"));
  EXPECT_EQ(Corrections("loop"), 0);
  EXPECT_EQ(Corrections("end"), 1);
}

}  // namespace
}  // namespace callgate::native
