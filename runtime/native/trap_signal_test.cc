#include "runtime/native/trap_signal.h"

#include <sys/mman.h>

#include <csignal>
#include <memory>
#include <thread>

#include "gtest/gtest.h"
#include "runtime/native/activation.h"
#include "runtime/native/stack_pool.h"

// Stands in for compiled code: hand-written, so that it is known where it is.
//   guest_code_loads(context, fuel, code, args): reads the byte that args
//   points
//       to, in a frame of its own
//   guest_code_sinks(...): calls itself until the stack ends
asm(R"(
        .text
        .globl  guest_code_begin
guest_code_begin:
        .globl  guest_code_loads
guest_code_loads:
        pushq   %rbp
        movq    %rsp, %rbp
        movb    (%rcx), %al
        movl    $7, %eax
        popq    %rbp
        retq
        .globl  guest_code_sinks
guest_code_sinks:
        pushq   %rbp
        movq    %rsp, %rbp
        callq   guest_code_sinks
        popq    %rbp
        retq
        .globl  guest_code_end
guest_code_end:
        nop
)");

extern "C" {
extern const char guest_code_begin[];
extern const char guest_code_end[];
int64_t guest_code_loads(void*, int64_t, const void*,
                         const callgate::RawValue*);
int64_t guest_code_sinks(void*, int64_t, const void*,
                         const callgate::RawValue*);
}

namespace callgate::native {
namespace {

class TrapSignalTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(PrepareThreadForFaults());
    auto stack = Stack::New(1 << 16);
    ASSERT_TRUE(stack.ok()) << stack.status();
    stack_ = *std::move(stack);
    memory_ =
        mmap(nullptr, 4'096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory_, MAP_FAILED);
  }
  void TearDown() override { munmap(memory_, 4'096); }

  static bool IsCode(const void*, uintptr_t pc) {
    return pc >= reinterpret_cast<uintptr_t>(guest_code_begin) &&
           pc < reinterpret_cast<uintptr_t>(guest_code_end);
  }
  static bool IsMemory(const void* owner, uintptr_t address) {
    return address / 4'096 ==
           reinterpret_cast<uintptr_t>(
               static_cast<const TrapSignalTest*>(owner)->memory_) /
               4'096;
  }

  EnterResult Run(EntryTrampoline code, const void* pointer) {
    Activation activation;
    scope_.activation = &activation;
    scope_.owner = this;
    scope_.is_code = &IsCode;
    scope_.is_memory = &IsMemory;
    scope_.guard_begin = stack_->guard_begin();
    scope_.guard_end = stack_->low();
    scope_.stack_low = stack_->low();
    scope_.stack_top = stack_->top();
    PushFaultScope(scope_);
    const EnterResult result =
        callgate_enter(&activation, code, nullptr, 0, nullptr,
                       static_cast<const RawValue*>(pointer),
                       reinterpret_cast<void*>(stack_->top()));
    PopFaultScope(scope_);
    return result;
  }

  std::unique_ptr<Stack> stack_;
  void* memory_ = nullptr;
  FaultScope scope_;
};

TEST_F(TrapSignalTest, LeavesCodeAloneThatDoesNotFault) {
  const uint8_t byte = 1;
  const EnterResult result = Run(&guest_code_loads, &byte);
  EXPECT_EQ(result.stopped, 0u);
  EXPECT_EQ(result.fuel, 7);
  EXPECT_FALSE(scope_.fault.happened);
}

TEST_F(TrapSignalTest, TurnsAMemoryFaultIntoATrap) {
  for (int i = 0; i < 3; ++i) {
    scope_ = FaultScope();
    const EnterResult result = Run(&guest_code_loads, memory_);
    EXPECT_EQ(result.stopped, 1u);
    ASSERT_TRUE(scope_.fault.happened);
    EXPECT_EQ(scope_.fault.code, TrapCode::kMemoryOutOfBounds);
    EXPECT_TRUE(IsCode(nullptr, scope_.fault.pc));
    EXPECT_EQ(scope_.returns, 1u) << "callgate_enter's";
  }
}

TEST_F(TrapSignalTest, TurnsAStackOverflowIntoATrap) {
  const EnterResult result = Run(&guest_code_sinks, nullptr);
  EXPECT_EQ(result.stopped, 1u);
  ASSERT_TRUE(scope_.fault.happened);
  EXPECT_EQ(scope_.fault.code, TrapCode::kCallStackExhausted);
  ASSERT_EQ(scope_.returns, FaultScope::kReturnsMax);
  EXPECT_TRUE(IsCode(nullptr, scope_.return_addresses[0]));
}

TEST_F(TrapSignalTest, WorksOnEveryThread) {
  std::thread other([this] {
    ASSERT_TRUE(PrepareThreadForFaults());
    EXPECT_EQ(Run(&guest_code_sinks, nullptr).stopped, 1u);
  });
  other.join();
  EXPECT_TRUE(scope_.fault.happened);
}

using TrapSignalDeathTest = TrapSignalTest;

TEST_F(TrapSignalDeathTest, CrashesOnAnyOtherAddress) {
  EXPECT_DEATH(Run(&guest_code_loads, reinterpret_cast<const void*>(16)), "");
}

TEST_F(TrapSignalDeathTest, CrashesOnAFaultOfOurOwnCode) {
  volatile uint8_t* const memory = static_cast<uint8_t*>(memory_);
  EXPECT_DEATH(memory[0] = 1, "");
  EXPECT_DEATH(
      {
        FaultScope scope;
        scope.is_code = &IsCode;
        scope.is_memory = &IsMemory;
        scope.owner = this;
        PushFaultScope(scope);
        memory[0] = 1;
      },
      "");
}

TEST_F(TrapSignalDeathTest, CrashesWhenASignalIsSent) {
  EXPECT_DEATH(raise(SIGSEGV), "");
}

}  // namespace
}  // namespace callgate::native
