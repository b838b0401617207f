#include "runtime/fuel.h"

#include <cstdint>
#include <optional>

#include "gtest/gtest.h"

namespace callgate {
namespace {

TEST(FuelTest, HasNoBoundAtFirst) {
  const Fuel fuel(/*metered=*/true);
  EXPECT_EQ(fuel.tank(), std::nullopt);
  EXPECT_EQ(fuel.left(), std::nullopt);
  EXPECT_EQ(fuel.used(), 0u);
}

TEST(FuelTest, HoldsWhatIsSetAndAdded) {
  Fuel fuel(true);
  ASSERT_TRUE(fuel.Set(10).ok());
  EXPECT_EQ(fuel.tank(), 10u);
  EXPECT_EQ(fuel.left(), 10u);
  ASSERT_TRUE(fuel.Add(5).ok());
  EXPECT_EQ(fuel.left(), 15u);
  ASSERT_TRUE(fuel.Set(3).ok());
  EXPECT_EQ(fuel.left(), 3u);
  ASSERT_TRUE(fuel.Set(std::nullopt).ok());
  EXPECT_EQ(fuel.tank(), std::nullopt);
}

TEST(FuelTest, ConsumesAllOrNothing) {
  Fuel fuel(true);
  ASSERT_TRUE(fuel.Set(10).ok());
  ASSERT_TRUE(fuel.Consume(10).ok());
  EXPECT_EQ(fuel.left(), 0u);
  EXPECT_EQ(fuel.used(), 10u);
  ASSERT_TRUE(fuel.Add(4).ok());
  EXPECT_EQ(fuel.Consume(5).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(fuel.left(), 4u);
  EXPECT_EQ(fuel.used(), 10u);
}

TEST(FuelTest, RefusesMoreThanATankHolds) {
  Fuel fuel(true);
  EXPECT_EQ(fuel.Set(Fuel::kTankMax + 1).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(fuel.tank(), std::nullopt);
  ASSERT_TRUE(fuel.Set(Fuel::kTankMax).ok());
  EXPECT_EQ(fuel.Add(1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(fuel.Add(~uint64_t{0}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(fuel.tank(), Fuel::kTankMax);
}

TEST(FuelTest, AddsOnlyToABound) {
  Fuel fuel(true);
  EXPECT_EQ(fuel.Add(1).code(), absl::StatusCode::kFailedPrecondition);
}

// The count of what was used never wraps, whatever hosts consume.
TEST(FuelTest, ConsumesNoMoreThanCanBeCounted) {
  Fuel fuel(true);
  ASSERT_TRUE(fuel.Consume(Fuel::kTankMax).ok());
  EXPECT_EQ(fuel.Consume(1).code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(fuel.Set(Fuel::kTankMax).ok());
  EXPECT_EQ(fuel.tank(), Fuel::kTankMax);
  EXPECT_EQ(fuel.Consume(~uint64_t{0}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(fuel.used(), Fuel::kTankMax);
}

TEST(FuelTest, IsNotChangedWhereNothingIsMetered) {
  Fuel fuel(/*metered=*/false);
  EXPECT_EQ(fuel.Set(1).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(fuel.Add(1).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(fuel.Consume(1).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(fuel.left(), std::nullopt);
}

TEST(FuelTest, SpentIsATrap) {
  const Trap trap = Trap::FromError(TrapCode::kHostError, Fuel::Spent(), {});
  EXPECT_EQ(trap.code(), TrapCode::kOutOfFuel);
}

}  // namespace
}  // namespace callgate
