#include "runtime/native/stack_pool.h"

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/native/abi.h"

namespace callgate::native {
namespace {

TEST(StackPoolTest, LaysAStackOut) {
  auto made = Stack::New(100'000);
  ASSERT_TRUE(made.ok()) << made.status();
  const Stack& stack = **made;
  EXPECT_EQ(stack.top() % 4'096, 0u);
  EXPECT_EQ(stack.low() - stack.guard_begin(), 4'096u);
  EXPECT_EQ(stack.limit() - stack.low(), kHostHeadroom + kFrameSlack);
  EXPECT_GE(stack.guest_bytes(), 100'000u);
  EXPECT_LT(stack.guest_bytes(), 104'096u + 1);
  auto* const low = reinterpret_cast<uint8_t*>(stack.low());
  low[0] = 1;
  low[stack.top() - stack.low() - 1] = 1;
}

TEST(StackPoolTest, RefusesAGiganticStack) {
  EXPECT_EQ(Stack::New(uint64_t{1} << 40).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(StackPoolTest, UsesAStackAgain) {
  StackPool pool;
  auto one = pool.Acquire(1 << 20);
  ASSERT_TRUE(one.ok()) << one.status();
  const uintptr_t top = (*one)->top();
  // Deep pages are given back to the system, and read as zeros then.
  *reinterpret_cast<uint8_t*>((*one)->low()) = 1;
  for (uint32_t i = 1; i < StackPool::kUsesBetweenTrims; ++i) {
    pool.Release(*std::move(one));
    one = pool.Acquire(1 << 20);
    ASSERT_TRUE(one.ok()) << one.status();
    ASSERT_EQ((*one)->top(), top);
  }
  pool.Release(*std::move(one));
  EXPECT_EQ(pool.idle(), 1u);
  auto other = pool.Acquire(2 << 20);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_NE((*other)->top(), top) << "that one is of another size";
  auto again = pool.Acquire(1 << 20);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->top(), top);
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_EQ(*reinterpret_cast<uint8_t*>((*again)->low()), 0);
#endif
  EXPECT_EQ(pool.in_use(), 2u);
  pool.Release(*std::move(again));
  pool.Release(*std::move(other));
  EXPECT_EQ(pool.in_use(), 0u);
}

TEST(StackPoolTest, HasBounds) {
  StackPool::Options options;
  options.idle_max = 1;
  options.stacks_max = 2;
  StackPool pool(options);
  auto a = pool.Acquire(1 << 16);
  auto b = pool.Acquire(1 << 16);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(pool.Acquire(1 << 16).status().code(),
            absl::StatusCode::kResourceExhausted);
  pool.Release(*std::move(a));
  pool.Release(*std::move(b));
  EXPECT_EQ(pool.idle(), 1u);
  // An idle stack of another size makes room.
  auto c = pool.Acquire(1 << 17);
  auto d = pool.Acquire(1 << 17);
  ASSERT_TRUE(c.ok() && d.ok());
  EXPECT_EQ(pool.idle(), 0u);
  pool.Release(*std::move(c));
  pool.Release(*std::move(d));
}

TEST(StackPoolTest, ServesManyThreads) {
  StackPool pool;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool] {
      for (int i = 0; i < 500; ++i) {
        auto stack = pool.Acquire(1 << 16);
        ASSERT_TRUE(stack.ok()) << stack.status();
        *reinterpret_cast<uint8_t*>((*stack)->top() - 1) = 1;
        pool.Release(*std::move(stack));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.in_use(), 0u);
}

}  // namespace
}  // namespace callgate::native
