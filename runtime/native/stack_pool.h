// Stacks that guests run on, and host functions that guests call.
//
//   low                                                               top
//    | guard page | host headroom | frame slack | what guests may use  |
//                                               ^ limit()
//
// Guest code compares its frames with limit(). Beneath it there is room for
// the largest frame that compiled code makes without comparing, and beneath
// that for host functions called from the deepest guest frame. The guard page
// catches what should not happen.
//
// A stack used by one guest after another keeps its pages while it is in the
// pool, at most `idle_max` stacks of them, and is never read before it is
// written by correct code. Every kUsesBetweenTrims uses the deep pages go back
// to the system, so what a guest that went deep has left behind does not stay.
//
// A call that finds the stack it released last takes no lock.
//
// Any thread; a Stack is used by one at a time and must not outlive its pool.

#ifndef CALLGATE_RUNTIME_NATIVE_STACK_POOL_H_
#define CALLGATE_RUNTIME_NATIVE_STACK_POOL_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"

namespace callgate::native {

// Sanitizers make frames several times larger.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr uint64_t kHostHeadroom = 2 << 20;
#else
inline constexpr uint64_t kHostHeadroom = 256 << 10;
#endif

class Stack {
 public:
  // `guest_bytes` is rounded up to whole pages. ResourceExhausted when the
  // system gives no memory.
  static absl::StatusOr<std::unique_ptr<Stack>> New(uint64_t guest_bytes);
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  uintptr_t guard_begin() const { return mapping_; }
  // The lowest usable byte.
  uintptr_t low() const;
  uintptr_t top() const { return mapping_ + mapped_bytes_; }
  uintptr_t limit() const;
  uint64_t guest_bytes() const { return top() - limit(); }

 private:
  Stack(uintptr_t mapping, uint64_t mapped_bytes)
      : mapping_(mapping), mapped_bytes_(mapped_bytes) {}

  friend class StackPool;

  const uintptr_t mapping_;
  const uint64_t mapped_bytes_;
  uint32_t uses_ = 0;  // since its deep pages were given back
};

class StackPool {
 public:
  static constexpr uint32_t kUsesBetweenTrims = 256;

  struct Options {
    // Stacks kept for the next guest; more are given back to the system.
    size_t idle_max = 64;
    // Stacks in use and idle.
    size_t stacks_max = 4'096;
  };

  StackPool() : StackPool(Options()) {}
  explicit StackPool(const Options& options) : options_(options) {}
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // ResourceExhausted at `stacks_max` and when the system gives no memory.
  absl::StatusOr<std::unique_ptr<Stack>> Acquire(uint64_t guest_bytes);
  void Release(std::unique_ptr<Stack> stack);

  // Exact while nobody acquires or releases.
  size_t in_use() const;
  size_t idle() const;

 private:
  // Threads share these by number, and by chance.
  static constexpr size_t kNear = 8;

  // Null where idle stacks are too few to keep any there.
  std::atomic<Stack*>* Near();
  std::unique_ptr<Stack> TakeNear();
  size_t CountNear() const;

  const Options options_;
  // Idle stacks, each owned by who takes it out.
  std::array<std::atomic<Stack*>, kNear> near_ = {};
  mutable std::mutex mu_;
  std::vector<std::unique_ptr<Stack>> idle_;  // guarded by mu_
  size_t made_ = 0;  // guarded by mu_; of those not destroyed yet
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_STACK_POOL_H_
