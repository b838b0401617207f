// Address space for linear memories.
//
// Every memory gets a slot of kMemoryReserve bytes, of which its first bytes
// can be touched and the rest faults, so that its base never moves and an
// access speculated beyond a check reaches nothing of another. Slots are cut
// out of few large mappings (arenas), made when they are first needed and kept
// until the pool ends: a slot in use costs the kernel at most three mappings,
// an idle one none.
//
// A slot given back is mapped afresh, which drops every page of its last user.
//
// Any thread; a Slot is used by one thread at a time and must not outlive its
// pool.

#ifndef CALLGATE_RUNTIME_NATIVE_MEMORY_POOL_H_
#define CALLGATE_RUNTIME_NATIVE_MEMORY_POOL_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/native/abi.h"
#include "runtime/native/memory_image.h"

namespace callgate::native {

class MemoryPool {
 public:
  struct Options {
    uint32_t slots_per_arena = 32;
    // 96 TiB of the 128 that a process has.
    uint32_t slots_max = 12'000;
  };

  class Slot {
   public:
    Slot() = default;
    Slot(Slot&& other) noexcept { *this = std::move(other); }
    Slot& operator=(Slot&& other) noexcept;
    ~Slot() { Release(); }

    uint8_t* base() const { return base_; }
    uint64_t bytes() const { return bytes_; }

    // Makes [base, base + bytes) usable; what is new holds zeros. `bytes` is a
    // multiple of the page size, at least as large as before, at most
    // kMemoryReserve. False when the system refuses; then nothing changed.
    bool Grow(uint64_t bytes);
    // Puts the image's contents into a slot that nobody has written to yet.
    // `image` may go before the slot does.
    bool MapImage(const MemoryImage& image);

   private:
    friend class MemoryPool;
    void Release();

    MemoryPool* pool_ = nullptr;
    uint8_t* base_ = nullptr;
    uint64_t bytes_ = 0;
  };

  MemoryPool() : MemoryPool(Options()) {}
  explicit MemoryPool(const Options& options) : options_(options) {}
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // A slot of zeros. ResourceExhausted when the pool or the system has no
  // room.
  absl::StatusOr<Slot> Acquire(uint64_t bytes);

  uint32_t slots_in_use() const;
  uint32_t arenas() const;

 private:
  absl::Status AddArena();  // mu_ is held
  void GiveBack(uint8_t* base, uint64_t bytes);

  const Options options_;
  mutable std::mutex mu_;
  std::vector<uint8_t*> arenas_;  // guarded by mu_
  std::vector<uint8_t*> free_;    // guarded by mu_; the last is taken first
  uint32_t in_use_ = 0;           // guarded by mu_
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_MEMORY_POOL_H_
