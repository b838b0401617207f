#include "tests/support/allocations.h"

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace callgate {
namespace {

constexpr std::align_val_t kAligned{256};

struct Row {
  std::string name;
  void* (*take)();
  void (*give)(void*);
};

class Form : public testing::TestWithParam<Row> {};

TEST_P(Form, IsCountedAndGivenBack) {
  const uint64_t count = AllocationCount();
  const uint64_t bytes = AllocatedBytes();
  void* const memory = GetParam().take();
  EXPECT_EQ(AllocationCount(), count + 1);
  EXPECT_EQ(AllocatedBytes(), bytes + 100);
  ASSERT_NE(memory, nullptr);
  // A sanitizer ends the test if this is not where it came from.
  GetParam().give(memory);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, Form,
    testing::Values(
        Row{"plain", [] { return operator new(100); },
            [](void* p) { operator delete(p); }},
        Row{"array", [] { return operator new[](100); },
            [](void* p) { operator delete[](p); }},
        Row{"sized", [] { return operator new(100); },
            [](void* p) { operator delete(p, 100); }},
        Row{"sized_array", [] { return operator new[](100); },
            [](void* p) { operator delete[](p, 100); }},
        Row{"nothrow", [] { return operator new(100, std::nothrow); },
            [](void* p) { operator delete(p); }},
        Row{"nothrow_array", [] { return operator new[](100, std::nothrow); },
            [](void* p) { operator delete[](p, std::nothrow); }},
        Row{"aligned", [] { return operator new(100, kAligned); },
            [](void* p) { operator delete(p, kAligned); }},
        Row{"aligned_array", [] { return operator new[](100, kAligned); },
            [](void* p) { operator delete[](p, 100, kAligned); }},
        Row{"aligned_nothrow",
            [] { return operator new(100, kAligned, std::nothrow); },
            [](void* p) { operator delete(p, kAligned, std::nothrow); }}),
    [](const testing::TestParamInfo<Row>& row) { return row.param.name; });

TEST(AllocationsTest, AlignedMemoryIsAligned) {
  void* const memory = operator new(1, kAligned);
  EXPECT_EQ(
      reinterpret_cast<uintptr_t>(memory) % static_cast<uintptr_t>(kAligned),
      0u);
  operator delete(memory, kAligned);
}

}  // namespace
}  // namespace callgate
