// A function on a stack of its own that can be left in the middle and gone on
// with later, on any thread.
//
// It may switch to further stacks itself, as guests do, and suspend there: what
// it was on is what it goes on on. What belongs to the fiber and not to the
// thread moves with it: the chain of activations that faults are looked up in,
// and the sanitizers' ideas of where it is.
//
// One thread at a time, which never is inside another fiber. A fiber is
// destroyed only after it has ended, or before it has begun: what is on its
// stack has destructors, and guests' frames cannot be unwound.

#ifndef CALLGATE_RUNTIME_EXECUTOR_FIBER_H_
#define CALLGATE_RUNTIME_EXECUTOR_FIBER_H_

#include <cstddef>
#include <functional>
#include <memory>

#include "runtime/native/stack_pool.h"
#include "runtime/native/trap_signal.h"

namespace callgate {

class Fiber {
 public:
  // Begins with the first Resume. `body` throws nothing.
  Fiber(std::unique_ptr<native::Stack> stack, std::function<void()> body);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs it here until it suspends or ends; true when it has ended. The thread
  // must be prepared for faults (trap_signal.h).
  bool Resume();

  // Makes Resume return, and returns in the next one. On the fiber.
  void Suspend();

  // Once it has ended.
  std::unique_ptr<native::Stack> TakeStack();

 private:
  struct Switch;
  friend struct Switch;

  enum class State { kNew, kRunning, kSuspended, kEnded };

  void Run();

  std::unique_ptr<native::Stack> stack_;
  std::function<void()> body_;
  State state_ = State::kNew;
  // Where to go on: of the fiber while it does not run, of the thread while it
  // does.
  void* context_ = nullptr;
  void* thread_context_ = nullptr;
  // The fiber's activations while it does not run.
  native::FaultScope* scopes_ = nullptr;

  // Of the sanitizers: the stacks that are switched between, as they are found
  // on arrival, and ThreadSanitizer's contexts.
  const void* low_ = nullptr;
  size_t bytes_ = 0;
  const void* thread_low_ = nullptr;
  size_t thread_bytes_ = 0;
  void* tsan_own_ = nullptr;
  void* tsan_context_ = nullptr;
  void* tsan_thread_ = nullptr;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_EXECUTOR_FIBER_H_
