#include "tests/support/allocations.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace callgate {
namespace {

std::atomic<uint64_t> count{0};
std::atomic<uint64_t> all_bytes{0};

// Null if there is no memory.
void* Take(size_t bytes, std::align_val_t alignment) noexcept {
  count.fetch_add(1, std::memory_order_relaxed);
  all_bytes.fetch_add(bytes, std::memory_order_relaxed);
  void* memory = nullptr;
  const size_t least = std::max(static_cast<size_t>(alignment), sizeof(void*));
  return posix_memalign(&memory, least, bytes) == 0 ? memory : nullptr;
}

void* Take(size_t bytes) noexcept {
  return Take(bytes, std::align_val_t{__STDCPP_DEFAULT_NEW_ALIGNMENT__});
}

void* OrThrow(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

uint64_t AllocationCount() { return count.load(std::memory_order_relaxed); }
uint64_t AllocatedBytes() { return all_bytes.load(std::memory_order_relaxed); }

}  // namespace callgate

using callgate::OrThrow;
using callgate::Take;
using std::align_val_t;
using std::nothrow_t;

void* operator new(size_t n) { return OrThrow(Take(n)); }
void* operator new[](size_t n) { return OrThrow(Take(n)); }
void* operator new(size_t n, align_val_t a) { return OrThrow(Take(n, a)); }
void* operator new[](size_t n, align_val_t a) { return OrThrow(Take(n, a)); }

void* operator new(size_t n, const nothrow_t&) noexcept { return Take(n); }
void* operator new[](size_t n, const nothrow_t&) noexcept { return Take(n); }
void* operator new(size_t n, align_val_t a, const nothrow_t&) noexcept {
  return Take(n, a);
}
void* operator new[](size_t n, align_val_t a, const nothrow_t&) noexcept {
  return Take(n, a);
}

void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t, align_val_t) noexcept { std::free(p); }

void operator delete(void* p, const nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, align_val_t, const nothrow_t&) noexcept {
  std::free(p);
}
void operator delete[](void* p, align_val_t, const nothrow_t&) noexcept {
  std::free(p);
}
