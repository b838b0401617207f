#include "runtime/executor/fiber.h"

#include <utility>

#include "boost/context/detail/fcontext.hpp"
#include "runtime/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace callgate {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

// The two directions, with what the sanitizers must be told on the way. Each
// leaves by one jump and arrives by the other's.
struct Fiber::Switch {
  static void ToFiber(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, fiber.low_, fiber.bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
    fiber.tsan_thread_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber.tsan_context_, 0);
#endif
    const transfer_t back = jump_fcontext(fiber.context_, &fiber);
    fiber.context_ = back.fctx;
#if defined(__SANITIZE_ADDRESS__)
    // The stack that it suspended on, which need not be its first.
    __sanitizer_finish_switch_fiber(fake_stack, &fiber.low_, &fiber.bytes_);
#endif
  }

  static void ToThread(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(
        fiber.state_ == State::kEnded ? nullptr : &fake_stack,
        fiber.thread_low_, fiber.thread_bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
    fiber.tsan_context_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber.tsan_thread_, 0);
#endif
    const transfer_t back = jump_fcontext(fiber.thread_context_, nullptr);
    fiber.thread_context_ = back.fctx;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, &fiber.thread_low_,
                                    &fiber.thread_bytes_);
#endif
  }

  // The first function on the stack: no frame of its own before the sanitizer
  // knows where it is.
#if defined(__SANITIZE_ADDRESS__)
  __attribute__((no_sanitize("address")))
#endif
  static void
  Begin(transfer_t from) {
    auto* const fiber = static_cast<Fiber*>(from.data);
    fiber->thread_context_ = from.fctx;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &fiber->thread_low_,
                                    &fiber->thread_bytes_);
#endif
    fiber->Run();
    ToThread(*fiber);
    CALLGATE_CHECK(false, "a fiber that has ended is not resumed");
  }
};

Fiber::Fiber(std::unique_ptr<native::Stack> stack, std::function<void()> body)
    : stack_(std::move(stack)), body_(std::move(body)) {
  // SAFETY: the stack is ours until the fiber has ended.
  low_ = reinterpret_cast<const void*>(stack_->low());
  bytes_ = stack_->top() - stack_->low();
  context_ = make_fcontext(reinterpret_cast<void*>(stack_->top()), bytes_,
                           &Switch::Begin);
#if defined(__SANITIZE_THREAD__)
  tsan_own_ = tsan_context_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  CALLGATE_CHECK(state_ == State::kNew || state_ == State::kEnded,
                 "a fiber is not destroyed in the middle");
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(tsan_own_);
#endif
}

void Fiber::Run() {
  body_();
  body_ = nullptr;
  state_ = State::kEnded;
}

bool Fiber::Resume() {
  CALLGATE_CHECK(state_ == State::kNew || state_ == State::kSuspended,
                 "a fiber runs on one thread at a time");
  state_ = State::kRunning;
  native::FaultScope* const of_thread = native::ExchangeFaultScopes(scopes_);
  CALLGATE_CHECK(of_thread == nullptr, "fibers run outside of guests");
  Switch::ToFiber(*this);
  scopes_ = native::ExchangeFaultScopes(nullptr);
  return state_ == State::kEnded;
}

void Fiber::Suspend() {
  state_ = State::kSuspended;
  Switch::ToThread(*this);
}

std::unique_ptr<native::Stack> Fiber::TakeStack() {
  CALLGATE_CHECK(state_ == State::kNew || state_ == State::kEnded,
                 "a fiber keeps its stack until it ends");
  return std::move(stack_);
}

}  // namespace callgate
