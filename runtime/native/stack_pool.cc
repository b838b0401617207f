#include "runtime/native/stack_pool.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/native/abi.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace callgate::native {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kGuard = kPage;
constexpr uint64_t kGuestBytesMax = uint64_t{1} << 30;

uint64_t WholePages(uint64_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Stack>> Stack::New(uint64_t guest_bytes) {
  if (guest_bytes > kGuestBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a guest's stack of ", guest_bytes,
                     " bytes is over the maximum of ", kGuestBytesMax));
  }
  const uint64_t bytes =
      kGuard + kHostHeadroom + kFrameSlack + WholePages(guest_bytes);
  void* mapping =
      mmap(nullptr, bytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (mapping == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a guest's stack of ", bytes, " bytes: ", std::strerror(errno)));
  }
  const auto at = reinterpret_cast<uintptr_t>(mapping);
  std::unique_ptr<Stack> stack(new Stack(at, bytes));
  if (mprotect(reinterpret_cast<void*>(stack->low()), bytes - kGuard,
               PROT_READ | PROT_WRITE) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a guest's stack of ", bytes, " bytes: ", std::strerror(errno)));
  }
  return stack;
}

Stack::~Stack() {
#if defined(__SANITIZE_ADDRESS__)
  // Frames that were unwound left their marks.
  ASAN_UNPOISON_MEMORY_REGION(reinterpret_cast<void*>(low()), top() - low());
#endif
  munmap(reinterpret_cast<void*>(mapping_), mapped_bytes_);
}

uintptr_t Stack::low() const { return mapping_ + kGuard; }
uintptr_t Stack::limit() const { return low() + kHostHeadroom + kFrameSlack; }

StackPool::~StackPool() {
  while (TakeNear() != nullptr) --made_;
  CALLGATE_CHECK(made_ == idle_.size(), "a stack pool outlives its stacks");
}

std::atomic<Stack*>* StackPool::Near() {
  static std::atomic<size_t> threads{0};
  thread_local const size_t number =
      threads.fetch_add(1, std::memory_order_relaxed);
  return options_.idle_max > kNear ? &near_[number % kNear] : nullptr;
}

std::unique_ptr<Stack> StackPool::TakeNear() {
  for (std::atomic<Stack*>& near : near_) {
    if (Stack* const stack = near.exchange(nullptr)) {
      return std::unique_ptr<Stack>(stack);
    }
  }
  return nullptr;
}

size_t StackPool::CountNear() const {
  size_t count = 0;
  for (const std::atomic<Stack*>& near : near_) {
    if (near.load() != nullptr) ++count;
  }
  return count;
}

absl::StatusOr<std::unique_ptr<Stack>> StackPool::Acquire(
    uint64_t guest_bytes) {
  const uint64_t wanted = WholePages(guest_bytes);
  std::unique_ptr<Stack> other;  // of another size, dropped without the lock
  if (std::atomic<Stack*>* const near = Near()) {
    std::unique_ptr<Stack> stack(near->exchange(nullptr));
    if (stack != nullptr && stack->guest_bytes() == wanted) return stack;
    other = std::move(stack);
  }
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (other != nullptr) idle_.push_back(std::move(other));
    for (size_t i = idle_.size(); i-- > 0;) {
      if (idle_[i]->guest_bytes() != wanted) continue;
      std::unique_ptr<Stack> stack = std::move(idle_[i]);
      idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(i));
      return stack;
    }
    if (made_ >= options_.stacks_max) {
      if (!idle_.empty()) {
        other = std::move(idle_.back());
        idle_.pop_back();
      } else {
        other = TakeNear();
      }
      if (other == nullptr) {
        return absl::ResourceExhaustedError(
            absl::StrCat("all ", options_.stacks_max,
                         " stacks for guests of this process are in use"));
      }
      --made_;
    }
    ++made_;
  }
  absl::StatusOr<std::unique_ptr<Stack>> made = Stack::New(guest_bytes);
  if (!made.ok()) {
    const std::lock_guard<std::mutex> lock(mu_);
    --made_;
  }
  return made;
}

void StackPool::Release(std::unique_ptr<Stack> stack) {
  // The deep pages of a stack that was used to its end; those near the top
  // every guest needs. Not every time: it is a system call, and many times as
  // dear as a call of a small function.
  constexpr uint64_t kKept = 64 << 10;
  if (++stack->uses_ >= kUsesBetweenTrims &&
      stack->top() - stack->low() > kKept) {
    stack->uses_ = 0;
#if !defined(__SANITIZE_ADDRESS__)
    static_cast<void>(madvise(reinterpret_cast<void*>(stack->low()),
                              stack->top() - stack->low() - kKept,
                              MADV_DONTNEED));
#endif
  }
  if (std::atomic<Stack*>* const near = Near()) {
    Stack* empty = nullptr;
    if (near->compare_exchange_strong(empty, stack.get())) {
      static_cast<void>(stack.release());
      return;
    }
  }
  const std::lock_guard<std::mutex> lock(mu_);
  const size_t near_max = options_.idle_max > kNear ? kNear : 0;
  if (idle_.size() < options_.idle_max - near_max) {
    idle_.push_back(std::move(stack));
  } else {
    --made_;
  }
}

size_t StackPool::in_use() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return made_ - idle_.size() - CountNear();
}

size_t StackPool::idle() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return idle_.size() + CountNear();
}

}  // namespace callgate::native
