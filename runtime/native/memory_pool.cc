#include "runtime/native/memory_pool.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::native {
namespace {

constexpr uint64_t kPage = 4096;
static_assert(kMemoryReserve % kPage == 0, "slots begin at pages");

}  // namespace

// ---------------------------------------------------------------- Slot

MemoryPool::Slot& MemoryPool::Slot::operator=(Slot&& other) noexcept {
  if (this == &other) return *this;
  Release();
  pool_ = std::exchange(other.pool_, nullptr);
  base_ = std::exchange(other.base_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

void MemoryPool::Slot::Release() {
  if (pool_ == nullptr) return;
  pool_->GiveBack(base_, bytes_);
  pool_ = nullptr;
  base_ = nullptr;
  bytes_ = 0;
}

bool MemoryPool::Slot::Grow(uint64_t bytes) {
  CALLGATE_CHECK(bytes >= bytes_ && bytes % kPage == 0,
                 "memories grow by whole pages");
  if (bytes > kMemoryReserve) return false;
  if (bytes == bytes_) return true;
  if (mprotect(base_ + bytes_, bytes - bytes_, PROT_READ | PROT_WRITE) != 0) {
    return false;
  }
  bytes_ = bytes;
  return true;
}

bool MemoryPool::Slot::MapImage(const MemoryImage& image) {
  CALLGATE_CHECK(image.begin() + image.bytes() <= bytes_,
                 "an image lies inside the memory that it is for");
  if (image.bytes() == 0) return true;
  return mmap(base_ + image.begin(), image.bytes(), PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, image.fd(),
              0) != MAP_FAILED;
}

// ---------------------------------------------------------------- the pool

MemoryPool::~MemoryPool() {
  CALLGATE_CHECK(in_use_ == 0, "a memory pool outlives its slots");
  for (uint8_t* arena : arenas_) {
    munmap(arena, options_.slots_per_arena * kMemoryReserve);
  }
}

absl::Status MemoryPool::AddArena() {
  const uint64_t slots = options_.slots_per_arena;
  if ((arenas_.size() + 1) * slots > options_.slots_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", options_.slots_max,
                     " places for linear memories of this process are taken"));
  }
  void* arena = mmap(nullptr, slots * kMemoryReserve, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no address space for ", slots,
                     " more linear memories: ", std::strerror(errno)));
  }
  auto* const base = static_cast<uint8_t*>(arena);
  arenas_.push_back(base);
  for (uint64_t i = slots; i-- > 0;) {
    free_.push_back(base + i * kMemoryReserve);
  }
  return absl::OkStatus();
}

absl::StatusOr<MemoryPool::Slot> MemoryPool::Acquire(uint64_t bytes) {
  if (bytes > kMemoryReserve) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a linear memory of ", bytes, " bytes is larger than the ",
                     kMemoryReserve, " bytes that this engine reserves"));
  }
  Slot slot;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (free_.empty()) {
      if (absl::Status added = AddArena(); !added.ok()) return added;
    }
    slot.base_ = free_.back();
    free_.pop_back();
    ++in_use_;
  }
  slot.pool_ = this;
  if (!slot.Grow(bytes)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a linear memory of ", bytes, " bytes: ", std::strerror(errno)));
  }
  return slot;
}

void MemoryPool::GiveBack(uint8_t* base, uint64_t bytes) {
  // One call drops the pages, takes the rights back and lets the mapping melt
  // into its neighbours. It begins and ends where mappings do already, so it
  // needs no more of them than there are; if it fails all the same, nobody
  // gets the slot again.
  const bool clean = bytes == 0 || mmap(base, bytes, PROT_NONE,
                                        MAP_PRIVATE | MAP_ANONYMOUS |
                                            MAP_NORESERVE | MAP_FIXED,
                                        -1, 0) != MAP_FAILED;
  const std::lock_guard<std::mutex> lock(mu_);
  --in_use_;
  if (clean) free_.push_back(base);
}

uint32_t MemoryPool::slots_in_use() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return in_use_;
}

uint32_t MemoryPool::arenas() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return static_cast<uint32_t>(arenas_.size());
}

}  // namespace callgate::native
