#include "runtime/native/activation.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/native/stack_pool.h"

namespace callgate::native {
namespace {

// What the functions that stand in for compiled code look at. They are C++, so
// the sanitizers, which know nothing of the switch here, are kept out of them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CALLGATE_GUEST \
  __attribute__((noinline, no_sanitize("address"), no_sanitize("thread")))
#else
#define CALLGATE_GUEST __attribute__((noinline))
#endif

struct Guest {
  ContextHeader header;
  Activation activation;
  uintptr_t stack_seen = 0;
  uintptr_t frame_above = 0;
  std::vector<uint64_t> log;
};

uintptr_t AnAddressOnTheStack() {
  return reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
}

CALLGATE_GUEST int64_t Adds(void* context, int64_t fuel, const void* code,
                            const RawValue* args) {
  auto* const guest = static_cast<Guest*>(context);
  guest->stack_seen = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  guest->frame_above = *reinterpret_cast<uintptr_t*>(guest->stack_seen);
  return fuel - static_cast<int64_t>(args[0].u64()) - (code == guest ? 1 : 0);
}

class ActivationTest : public testing::Test {
 protected:
  EnterResult Enter(EntryTrampoline entry, int64_t fuel, uint64_t arg = 0,
                    bool own_stack = true) {
    const RawValue args[] = {RawValue::I64(arg)};
    return callgate_enter(
        &guest_.activation, entry, &guest_, fuel, &guest_, args,
        own_stack ? reinterpret_cast<void*>(stack_->top()) : nullptr);
  }

  ActivationTest() {
    guest_.header.store = &store_;
    auto stack = Stack::New(1 << 20);
    EXPECT_TRUE(stack.ok()) << stack.status();
    stack_ = *std::move(stack);
  }

  bool OnGuestStack(uintptr_t address) const {
    return address >= stack_->low() && address < stack_->top();
  }

  StoreContext store_;
  Guest guest_;
  std::unique_ptr<Stack> stack_;
};

TEST_F(ActivationTest, EntersOnAnotherStackAndReturns) {
  const EnterResult result = Enter(&Adds, 100, 7);
  EXPECT_EQ(result.fuel, 92);
  EXPECT_EQ(result.stopped, 0u);
  EXPECT_TRUE(OnGuestStack(guest_.stack_seen));
  EXPECT_EQ(guest_.frame_above, 0u) << "the chain of frames ends there";
}

TEST_F(ActivationTest, StaysOnTheStackWhenAskedTo) {
  const EnterResult result = Enter(&Adds, 100, 7, /*own_stack=*/false);
  EXPECT_EQ(result.fuel, 92);
  EXPECT_FALSE(OnGuestStack(guest_.stack_seen));
  EXPECT_LT(guest_.stack_seen, AnAddressOnTheStack());
  EXPECT_EQ(guest_.frame_above, 0u);
}

// Goes down a few frames, and leaves from there.
CALLGATE_GUEST void Sink(Guest* guest, int depth);
// The compiler sees that nothing ever returns from it, and says so.
void (*volatile g_sink)(Guest*, int) = &Sink;
CALLGATE_GUEST void Sink(Guest* guest, int depth) {
  volatile uint8_t room[100];
  room[0] = 1;
  if (depth == 0) callgate_unwind(&guest->activation);
  g_sink(guest, depth - 1);
  room[1] = room[0];
}
CALLGATE_GUEST int64_t Unwinds(void* context, int64_t, const void*,
                               const RawValue* args) {
  Sink(static_cast<Guest*>(context), static_cast<int>(args[0].u32()));
  return 0;
}

TEST_F(ActivationTest, UnwindsFromAnyDepth) {
  for (const uint64_t depth : {0u, 1u, 1'000u}) {
    // Kept in registers that the callee must give back.
    const uint64_t before = depth * 3;
    const EnterResult result = Enter(&Unwinds, 5, depth);
    EXPECT_EQ(result.stopped, 1u);
    EXPECT_EQ(before, depth * 3);
    EXPECT_EQ(Enter(&Unwinds, 5, depth, /*own_stack=*/false).stopped, 1u);
  }
}

// Spoils every register that a function must give back, then leaves.
__attribute__((naked, noinline)) int64_t Spoils(void*, int64_t, const void*,
                                                const RawValue*) {
  asm("movq $-1, %rbx\n"
      "movq $-1, %r12\n"
      "movq $-1, %r13\n"
      "movq $-1, %r14\n"
      "movq $-1, %r15\n"
      "movq $-1, %rbp\n"
      // The context begins with a ContextHeader; the activation is behind it.
      "addq $16, %rdi\n"
      "jmp callgate_unwind\n");
}

TEST_F(ActivationTest, GivesRegistersBack) {
  static_assert(offsetof(Guest, activation) == 16, "see Spoils");
  uint64_t values[5];
  asm volatile("" : "=r"(values[0]) : "0"(uint64_t{11}));
  const EnterResult result = Enter(&Spoils, 0);
  EXPECT_EQ(result.stopped, 1u);
  EXPECT_EQ(values[0], 11u);
  EXPECT_TRUE(OnGuestStack(stack_->low())) << "and the frame is there";
}

TEST_F(ActivationTest, KeepsTheFloatingPointModes) {
  uint32_t before = 0;
  asm volatile("stmxcsr %0" : "=m"(before));
  const uint32_t other = before ^ 0x8000;  // flush to zero
  asm volatile("ldmxcsr %0" : : "m"(other));
  EXPECT_EQ(Enter(&Unwinds, 0, 3).stopped, 1u);
  uint32_t after = 0;
  asm volatile("stmxcsr %0" : "=m"(after));
  asm volatile("ldmxcsr %0" : : "m"(before));
  EXPECT_EQ(after, other);
}

// ---------------------------------------------------------------- exceptions

CALLGATE_GUEST int64_t ReturnsMinusOne(void*, int64_t fuel, const void*,
                                       const RawValue*) {
  return fuel - 1;
}
// As Builtin::kThrow.
CALLGATE_GUEST void Throw(Guest* guest, int64_t fuel) {
  StoreContext* const store = guest->header.store;
  ExceptionHandler* const handler = store->handler;
  store->handler = handler->outer;
  store->fuel = fuel;
  callgate_throw_to(handler);
}
CALLGATE_GUEST int64_t Throws(void* context, int64_t fuel, const void*,
                              const RawValue*) {
  Throw(static_cast<Guest*>(context), fuel - 2);
  return 0;
}
CALLGATE_GUEST int64_t TriesAThrow(void* context, int64_t fuel,
                                   const void* code, const RawValue* args) {
  auto* const guest = static_cast<Guest*>(context);
  ExceptionHandler* const outer = guest->header.store->handler;
  const uint32_t caught =
      callgate_try_call(context, fuel, code, args, context, &Throws);
  guest->log.push_back(caught);
  guest->log.push_back(guest->header.store->handler == outer ? 1 : 0);
  const uint32_t again =
      callgate_try_call(context, guest->header.store->fuel, code, args, context,
                        &ReturnsMinusOne);
  guest->log.push_back(again);
  guest->log.push_back(guest->header.store->handler == outer ? 1 : 0);
  return guest->header.store->fuel;
}

TEST_F(ActivationTest, CatchesAndReturns) {
  const EnterResult result = Enter(&TriesAThrow, 100);
  EXPECT_EQ(result.stopped, 0u);
  EXPECT_EQ(result.fuel, 97);
  EXPECT_EQ(guest_.log, (std::vector<uint64_t>{1, 1, 0, 1}));
  EXPECT_EQ(store_.handler, nullptr);
}

// An inner try whose callee throws twice: the second goes to the outer one.
CALLGATE_GUEST int64_t CatchesAndThrowsOn(void* context, int64_t fuel,
                                          const void* code,
                                          const RawValue* args) {
  auto* const guest = static_cast<Guest*>(context);
  const uint32_t caught =
      callgate_try_call(context, fuel, code, args, context, &Throws);
  guest->log.push_back(10 + caught);
  Throw(guest, guest->header.store->fuel);
  return 0;
}
CALLGATE_GUEST int64_t TriesThat(void* context, int64_t fuel, const void* code,
                                 const RawValue* args) {
  auto* const guest = static_cast<Guest*>(context);
  const uint32_t caught = callgate_try_call(context, fuel, code, args, context,
                                            &CatchesAndThrowsOn);
  guest->log.push_back(20 + caught);
  return guest->header.store->fuel;
}

TEST_F(ActivationTest, GoesToTheInnermostHandlerThenOut) {
  const EnterResult result = Enter(&TriesThat, 100);
  EXPECT_EQ(result.fuel, 98);
  EXPECT_EQ(guest_.log, (std::vector<uint64_t>{11, 21}));
  EXPECT_EQ(store_.handler, nullptr);
}

CALLGATE_GUEST int64_t WalksUp(void* context, int64_t fuel, const void*,
                               const RawValue*) {
  auto* const guest = static_cast<Guest*>(context);
  const auto* frame = static_cast<uintptr_t*>(__builtin_frame_address(0));
  while (frame != nullptr) {
    guest->log.push_back(reinterpret_cast<uintptr_t>(frame));
    frame = reinterpret_cast<const uintptr_t*>(*frame);
  }
  return fuel;
}
CALLGATE_GUEST int64_t TriesToWalk(void* context, int64_t fuel,
                                   const void* code, const RawValue* args) {
  callgate_try_call(context, fuel, code, args, context, &WalksUp);
  return fuel;
}

TEST_F(ActivationTest, KeepsTheChainOfFramesThroughATry) {
  Enter(&TriesToWalk, 1);
  // WalksUp, callgate_try_call, TriesToWalk.
  ASSERT_EQ(guest_.log.size(), 3u);
  EXPECT_LT(guest_.log[0], guest_.log[1]);
  EXPECT_LT(guest_.log[1], guest_.log[2]);
  for (const uint64_t frame : guest_.log) EXPECT_TRUE(OnGuestStack(frame));
}

}  // namespace
}  // namespace callgate::native
