#include "runtime/executor/fiber.h"

#include <sys/mman.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "runtime/native/activation.h"
#include "runtime/native/fiber_annotations.h"
#include "runtime/native/stack_pool.h"
#include "runtime/native/trap_signal.h"

// Stands in for compiled code: hand-written, so that it is known where it is.
// fiber_guest_parks(context, fuel, code, args) makes a host call, in which the
// fiber suspends, reads the byte that args points to, and returns.
asm(R"(
        .text
        .globl  fiber_guest_begin
fiber_guest_begin:
        .globl  fiber_guest_parks
fiber_guest_parks:
        pushq   %rbp
        movq    %rsp, %rbp
        pushq   %rcx
        pushq   %rdi
        callq   fiber_guest_suspends@PLT
        movq    -8(%rbp), %rcx
        movb    (%rcx), %al
        movq    -16(%rbp), %rdi
        callq   fiber_guest_returns@PLT
        movl    $7, %eax
        leave
        retq
        .globl  fiber_guest_end
fiber_guest_end:
        nop
)");

// What the two host functions need.
struct FiberGuest {
  callgate::Fiber* fiber = nullptr;
  callgate::native::FiberAnnotations annotations;
};

#if defined(__SANITIZE_ADDRESS__)
#define CALLGATE_ON_ARRIVAL __attribute__((no_sanitize("address")))
#else
#define CALLGATE_ON_ARRIVAL
#endif

extern "C" {
extern const char fiber_guest_begin[];
extern const char fiber_guest_end[];
int64_t fiber_guest_parks(void*, int64_t, const void*,
                          const callgate::RawValue*);
void fiber_guest_suspends(FiberGuest* guest);
void fiber_guest_returns(FiberGuest* guest);

CALLGATE_ON_ARRIVAL void fiber_guest_suspends(FiberGuest* guest) {
  guest->annotations.Arrived();
  guest->fiber->Suspend();
}

void fiber_guest_returns(FiberGuest* guest) { guest->annotations.Returning(); }
}

namespace callgate {
namespace {

std::unique_ptr<native::Stack> NewStack() {
  auto stack = native::Stack::New(64 << 10);
  EXPECT_TRUE(stack.ok()) << stack.status();
  return *std::move(stack);
}

// On a thread that does nothing else.
bool ResumeElsewhere(Fiber& fiber) {
  bool ended = false;
  std::thread thread([&] {
    EXPECT_TRUE(native::PrepareThreadForFaults());
    ended = fiber.Resume();
  });
  thread.join();
  return ended;
}

class FiberTest : public testing::Test {
 protected:
  FiberTest() { EXPECT_TRUE(native::PrepareThreadForFaults()); }
};

TEST_F(FiberTest, GoesOnWhereItSuspendedOnAnyThread) {
  std::string trace;
  Fiber* self = nullptr;
  Fiber fiber(NewStack(), [&] {
    const std::string kept(100, 'k');
    for (const char* step : {"a", "b", "c"}) {
      trace += step;
      self->Suspend();
    }
    EXPECT_EQ(kept, std::string(100, 'k'));
    trace += "d";
  });
  self = &fiber;
  EXPECT_FALSE(fiber.Resume());
  EXPECT_EQ(trace, "a");
  EXPECT_FALSE(ResumeElsewhere(fiber));
  EXPECT_FALSE(ResumeElsewhere(fiber));
  EXPECT_EQ(trace, "abc");
  EXPECT_TRUE(fiber.Resume());
  EXPECT_EQ(trace, "abcd");
  EXPECT_NE(fiber.TakeStack(), nullptr);
}

TEST_F(FiberTest, WhatTheBodyHoldsGoesWhenItEnds) {
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  Fiber fiber(NewStack(), [held = std::move(held)] {});
  EXPECT_FALSE(watch.expired());
  EXPECT_TRUE(fiber.Resume());
  EXPECT_TRUE(watch.expired());
}

TEST_F(FiberTest, OneThatHasNotBegunIsDropped) {
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  {
    const Fiber fiber(NewStack(), [held = std::move(held)] {});
  }
  EXPECT_TRUE(watch.expired());
}

using FiberDeathTest = FiberTest;

TEST_F(FiberDeathTest, IsNotDestroyedInTheMiddle) {
  EXPECT_DEATH(
      {
        Fiber* self = nullptr;
        Fiber fiber(NewStack(), [&] { self->Suspend(); });
        self = &fiber;
        fiber.Resume();
      },
      "not destroyed in the middle");
}

// A guest that parks in the middle of a host call, on the guest's own stack,
// faults on the thread where it goes on.
class FaultingFiberTest : public FiberTest {
 protected:
  FaultingFiberTest() : guest_stack_(NewStack()) {
    memory_ =
        mmap(nullptr, 4'096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(memory_, MAP_FAILED);
  }
  ~FaultingFiberTest() override { munmap(memory_, 4'096); }

  static bool IsCode(const void*, uintptr_t pc) {
    return pc >= reinterpret_cast<uintptr_t>(fiber_guest_begin) &&
           pc < reinterpret_cast<uintptr_t>(fiber_guest_end);
  }
  static bool IsMemory(const void* owner, uintptr_t address) {
    const auto* test = static_cast<const FaultingFiberTest*>(owner);
    return address / 4'096 ==
           reinterpret_cast<uintptr_t>(test->memory_) / 4'096;
  }

  native::EnterResult Enter(Fiber* fiber, const void* pointer) {
    FiberGuest guest;
    guest.fiber = fiber;
    native::Activation activation;
    scope_.activation = &activation;
    scope_.owner = this;
    scope_.is_code = &IsCode;
    scope_.is_memory = &IsMemory;
    scope_.guard_begin = guest_stack_->guard_begin();
    scope_.guard_end = guest_stack_->low();
    scope_.stack_low = guest_stack_->low();
    scope_.stack_top = guest_stack_->top();
    native::PushFaultScope(scope_);
    guest.annotations.Leaving(guest_stack_->low(), guest_stack_->top());
    native::EnterResult result{};
    {
      native::ThreadAnnotations thread;
      thread.Enter();
      result =
          native::callgate_enter(&activation, &fiber_guest_parks, &guest, 0,
                                 nullptr, static_cast<const RawValue*>(pointer),
                                 reinterpret_cast<void*>(guest_stack_->top()));
      thread.Leave();
    }
    if (scope_.fault.happened) guest.annotations.Returning();
    guest.annotations.Returned();
    native::PopFaultScope(scope_);
    return result;
  }

  const std::unique_ptr<native::Stack> guest_stack_;
  void* memory_ = nullptr;
  native::FaultScope scope_;
};

TEST_F(FaultingFiberTest, AFaultIsATrapOnTheThreadWhereItGoesOn) {
  native::EnterResult result{};
  Fiber* self = nullptr;
  Fiber fiber(NewStack(), [&] { result = Enter(self, memory_); });
  self = &fiber;
  EXPECT_FALSE(ResumeElsewhere(fiber));
  // The thread that it left is in no guest any more.
  EXPECT_EQ(native::ExchangeFaultScopes(nullptr), nullptr);
  EXPECT_TRUE(ResumeElsewhere(fiber));
  EXPECT_EQ(result.stopped, 1u);
  EXPECT_TRUE(scope_.fault.happened);
  EXPECT_EQ(scope_.fault.code, TrapCode::kMemoryOutOfBounds);
  EXPECT_EQ(native::ExchangeFaultScopes(nullptr), nullptr);
}

TEST_F(FaultingFiberTest, OneThatDoesNotFaultReturnsThere) {
  native::EnterResult result{};
  const uint8_t byte = 1;
  Fiber* self = nullptr;
  Fiber fiber(NewStack(), [&] { result = Enter(self, &byte); });
  self = &fiber;
  EXPECT_FALSE(fiber.Resume());
  EXPECT_EQ(native::ExchangeFaultScopes(nullptr), nullptr);
  EXPECT_TRUE(ResumeElsewhere(fiber));
  EXPECT_EQ(result.stopped, 0u);
  EXPECT_EQ(result.fuel, 7);
}

}  // namespace
}  // namespace callgate
