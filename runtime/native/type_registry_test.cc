#include "runtime/native/type_registry.h"

#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace callgate::native {
namespace {

const FuncType kNone;
const FuncType kOne{{ValType::kI32}, {}};
const FuncType kBack{{}, {ValType::kI32}};

TEST(TypeRegistryTest, GivesEqualTypesEqualNumbers) {
  const auto registry = TypeRegistry::New();
  const TypeRegistry::Hold a = registry->Take(kOne);
  const TypeRegistry::Hold b = registry->Take(FuncType{{ValType::kI32}, {}});
  EXPECT_EQ(a.id(), b.id());
  EXPECT_EQ(a.type(), kOne);
  EXPECT_EQ(registry->size(), 1u);
}

TEST(TypeRegistryTest, TellsParametersFromResults) {
  const auto registry = TypeRegistry::New();
  const TypeRegistry::Hold none = registry->Take(kNone);
  const TypeRegistry::Hold one = registry->Take(kOne);
  const TypeRegistry::Hold back = registry->Take(kBack);
  EXPECT_NE(none.id(), one.id());
  EXPECT_NE(none.id(), back.id());
  EXPECT_NE(one.id(), back.id());
}

TEST(TypeRegistryTest, KeepsANumberWhileSomebodyHoldsIt) {
  const auto registry = TypeRegistry::New();
  TypeRegistry::Hold a = registry->Take(kOne);
  const uint32_t id = a.id();
  {
    const TypeRegistry::Hold b = registry->Take(kOne);
    TypeRegistry::Hold moved = std::move(a);
    EXPECT_EQ(moved.id(), id);
  }
  EXPECT_EQ(registry->size(), 0u);
}

TEST(TypeRegistryTest, DoesNotGrowByTypesThatNobodyHolds) {
  const auto registry = TypeRegistry::New();
  for (size_t i = 0; i < 1'000; ++i) {
    FuncType type;
    type.params.assign(i, ValType::kI64);
    EXPECT_EQ(registry->Take(type).id(), 1u);
  }
  EXPECT_EQ(registry->size(), 0u);
}

TEST(TypeRegistryTest, LetsHoldsOutliveThePointer) {
  auto registry = TypeRegistry::New();
  const TypeRegistry::Hold hold = registry->Take(kOne);
  registry.reset();
  EXPECT_EQ(hold.type(), kOne);
}

TEST(TypeRegistryTest, ServesManyThreads) {
  const auto registry = TypeRegistry::New();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2'000; ++i) {
        const TypeRegistry::Hold a = registry->Take(i % 2 == 0 ? kOne : kBack);
        const TypeRegistry::Hold b = registry->Take(a.type());
        EXPECT_EQ(a.id(), b.id());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry->size(), 0u);
}

}  // namespace
}  // namespace callgate::native
