// Tells the sanitizers that a thread goes on another stack. Nothing without
// them.

#ifndef CALLGATE_RUNTIME_NATIVE_FIBER_ANNOTATIONS_H_
#define CALLGATE_RUNTIME_NATIVE_FIBER_ANNOTATIONS_H_

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace callgate::native {

// One switch to a stack and back, in this order: Leaving on the old stack,
// Arrived on the new one, Returning there (or anywhere, if the stack was left
// by a fault), Returned on the old one.
class FiberAnnotations {
 public:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool kNeedsArrival = true;
  void Leaving(uintptr_t low, uintptr_t top) {
    low_ = low;
    top_ = top;
    __sanitizer_start_switch_fiber(
        &fake_stack_, reinterpret_cast<const void*>(low), top - low);
  }
  void Arrived() {
    __sanitizer_finish_switch_fiber(nullptr, &old_bottom_, &old_bytes_);
  }
  void Returning() {
    __sanitizer_start_switch_fiber(nullptr, old_bottom_, old_bytes_);
  }
  void Returned() {
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
    // Frames that were dropped left their red zones.
    ASAN_UNPOISON_MEMORY_REGION(reinterpret_cast<void*>(low_), top_ - low_);
  }

 private:
  void* fake_stack_ = nullptr;
  const void* old_bottom_ = nullptr;
  size_t old_bytes_ = 0;
  uintptr_t low_ = 0;
  uintptr_t top_ = 0;
#else
  static constexpr bool kNeedsArrival = false;
  void Leaving(uintptr_t, uintptr_t) {}
  void Arrived() {}
  void Returning() {}
  void Returned() {}
#endif
};

// An activation to ThreadSanitizer: a context of its own, so that frames which
// are dropped do not stay on the thread's.
class ThreadAnnotations {
 public:
#if defined(__SANITIZE_THREAD__)
  ThreadAnnotations()
      : outer_(__tsan_get_current_fiber()), own_(__tsan_create_fiber(0)) {}
  ~ThreadAnnotations() { __tsan_destroy_fiber(own_); }
  void Enter() { __tsan_switch_to_fiber(own_, 0); }
  void Leave() { __tsan_switch_to_fiber(outer_, 0); }

 private:
  void* const outer_;
  void* const own_;
#else
  ThreadAnnotations() {}
  ~ThreadAnnotations() {}
  void Enter() {}
  void Leave() {}
#endif
};

// Before frames are dropped: what is between here and there is no error.
inline void AboutToDropFrames() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_handle_no_return();
#endif
}

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_FIBER_ANNOTATIONS_H_
