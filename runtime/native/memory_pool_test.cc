#include "runtime/native/memory_pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace callgate::native {
namespace {

constexpr uint64_t kPage = 65'536;

// ThreadSanitizer leaves a process 1.5 TiB.
#if defined(__SANITIZE_THREAD__)
constexpr uint32_t kMany = 100;
#else
constexpr uint32_t kMany = 2'000;
#endif

size_t Mappings() {
  std::ifstream maps("/proc/self/maps");
  size_t lines = 0;
  for (std::string line; std::getline(maps, line);) ++lines;
  return lines;
}

bool AllZero(const uint8_t* begin, uint64_t bytes) {
  return std::all_of(begin, begin + bytes, [](uint8_t b) { return b == 0; });
}

std::shared_ptr<const MemoryImage> Image(uint64_t address,
                                         const std::vector<uint8_t>& bytes,
                                         uint64_t memory_bytes) {
  const MemoryImage::Piece piece{address, bytes};
  auto made = MemoryImage::Make({piece}, memory_bytes);
  EXPECT_TRUE(made.ok()) << made.status();
  return *made;
}

TEST(MemoryPoolTest, BeginsWithZerosAndGrowsInPlace) {
  MemoryPool pool;
  auto slot = pool.Acquire(kPage);
  ASSERT_TRUE(slot.ok()) << slot.status();
  uint8_t* const base = slot->base();
  EXPECT_TRUE(AllZero(base, kPage));
  base[0] = 1;
  ASSERT_TRUE(slot->Grow(3 * kPage));
  EXPECT_EQ(slot->base(), base);
  EXPECT_EQ(slot->bytes(), 3 * kPage);
  EXPECT_EQ(base[0], 1);
  EXPECT_TRUE(AllZero(base + kPage, 2 * kPage));
  base[3 * kPage - 1] = 1;
}

TEST(MemoryPoolTest, GrowsToTheReserveAndNotBeyond) {
  MemoryPool pool;
  auto slot = pool.Acquire(0);
  ASSERT_TRUE(slot.ok()) << slot.status();
  EXPECT_FALSE(slot->Grow(kMemoryReserve + kPage));
  EXPECT_EQ(slot->bytes(), 0u);
  EXPECT_TRUE(slot->Grow(kMemoryReserve));
  slot->base()[kMemoryReserve - 1] = 1;
  EXPECT_EQ(pool.Acquire(kMemoryReserve + kPage).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(MemoryPoolTest, LeavesNothingToTheNext) {
  MemoryPool pool;
  const auto image = Image(5, std::vector<uint8_t>(100, 7), kPage);
  uint8_t* base = nullptr;
  for (int round = 0; round < 4; ++round) {
    auto slot = pool.Acquire(2 * kPage);
    ASSERT_TRUE(slot.ok()) << slot.status();
    if (base != nullptr) {
      EXPECT_EQ(slot->base(), base) << "it is used again";
    }
    base = slot->base();
    EXPECT_TRUE(AllZero(base, 2 * kPage));
    if (round % 2 == 0) {
      ASSERT_TRUE(slot->MapImage(*image));
    }
    ASSERT_TRUE(slot->Grow(5 * kPage));
    std::fill_n(base, 5 * kPage, static_cast<uint8_t>(0xee));
  }
}

TEST(MemoryPoolTest, MapsAnImageForEachByItself) {
  MemoryPool pool;
  const auto image = Image(10'000, {1, 2, 3}, kPage);
  EXPECT_EQ(image->begin(), 8'192u);
  EXPECT_EQ(image->bytes(), 4'096u);
  auto a = pool.Acquire(kPage);
  auto b = pool.Acquire(kPage);
  ASSERT_TRUE(a.ok() && b.ok());
  ASSERT_TRUE(a->MapImage(*image));
  ASSERT_TRUE(b->MapImage(*image));
  EXPECT_EQ(a->base()[10'001], 2);
  EXPECT_TRUE(AllZero(a->base(), 10'000));
  EXPECT_TRUE(AllZero(a->base() + 10'003, kPage - 10'003));
  a->base()[10'001] = 9;
  EXPECT_EQ(b->base()[10'001], 2);
}

TEST(MemoryPoolTest, WritesPiecesInOrder) {
  const std::vector<uint8_t> first(8, 1);
  const std::vector<uint8_t> second(4, 2);
  auto image = MemoryImage::Make({{0, first}, {4, second}, {2, {}}}, kPage);
  ASSERT_TRUE(image.ok()) << image.status();
  MemoryPool pool;
  auto slot = pool.Acquire(kPage);
  ASSERT_TRUE(slot.ok()) << slot.status();
  ASSERT_TRUE(slot->MapImage(**image));
  EXPECT_EQ(slot->base()[3], 1);
  EXPECT_EQ(slot->base()[4], 2);
  EXPECT_EQ(slot->base()[7], 2);
  EXPECT_EQ(slot->base()[8], 0);
}

TEST(MemoryPoolTest, SealsImages) {
  const auto image = Image(0, {1}, kPage);
  EXPECT_EQ(pwrite(image->fd(), "x", 1, 0), -1);
  EXPECT_EQ(ftruncate(image->fd(), 0), -1);
}

// What an allocator may map meanwhile; a sanitizer's takes more than glibc's.
constexpr size_t kOthers = 64;

TEST(MemoryPoolTest, HoldsManyAtOnceInFewMappings) {
  MemoryPool pool;
  const auto image = Image(0, std::vector<uint8_t>(4'096, 7), kPage);
  const size_t before = Mappings();
  std::vector<MemoryPool::Slot> slots;
  for (uint32_t i = 0; i < kMany; ++i) {
    auto slot = pool.Acquire(kPage);
    ASSERT_TRUE(slot.ok()) << i << ": " << slot.status();
    ASSERT_TRUE(slot->MapImage(*image)) << i;
    slot->base()[i % kPage] = 1;
    slots.push_back(*std::move(slot));
  }
  EXPECT_EQ(pool.slots_in_use(), kMany);
  EXPECT_EQ(pool.arenas(), (kMany + 31) / 32);
  EXPECT_LE(Mappings() - before, 3 * kMany + kOthers);
  slots.clear();
  EXPECT_EQ(pool.slots_in_use(), 0u);
  // Idle slots melt into one mapping per arena, or fewer.
  EXPECT_LE(Mappings(), before + pool.arenas() + kOthers);
}

TEST(MemoryPoolTest, RefusesMoreThanItsMost) {
  MemoryPool::Options options;
  options.slots_per_arena = 2;
  options.slots_max = 4;
  MemoryPool pool(options);
  std::vector<MemoryPool::Slot> slots;
  for (int i = 0; i < 4; ++i) {
    auto slot = pool.Acquire(kPage);
    ASSERT_TRUE(slot.ok()) << slot.status();
    slots.push_back(*std::move(slot));
  }
  EXPECT_EQ(pool.Acquire(kPage).status().code(),
            absl::StatusCode::kResourceExhausted);
  slots.pop_back();
  EXPECT_TRUE(pool.Acquire(kPage).ok());
}

TEST(MemoryPoolTest, ServesManyThreads) {
  MemoryPool pool;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 200; ++i) {
        auto slot = pool.Acquire(kPage);
        ASSERT_TRUE(slot.ok()) << slot.status();
        EXPECT_EQ(slot->base()[100], 0);
        slot->base()[100] = static_cast<uint8_t>(t + 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.slots_in_use(), 0u);
}

TEST(MemoryPoolTest, SurvivesAFork) {
  MemoryPool pool;
  auto slot = pool.Acquire(kPage);
  ASSERT_TRUE(slot.ok()) << slot.status();
  slot->base()[0] = 1;
  const pid_t child = fork();
  if (child == 0) {
    slot->base()[0] = 2;
    _exit(slot->base()[0]);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 2);
  EXPECT_EQ(slot->base()[0], 1);
}

// Not in sanitizer builds, whose reports are not what is looked for.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(MemoryPoolDeathTest, FaultsBehindTheMemory) {
  MemoryPool pool;
  auto slot = pool.Acquire(kPage);
  ASSERT_TRUE(slot.ok()) << slot.status();
  volatile uint8_t* const base = slot->base();
  EXPECT_DEATH(base[kPage] = 1, "");
  EXPECT_DEATH(base[kMemoryReserve - 1] = 1, "");
}
#endif

}  // namespace
}  // namespace callgate::native
