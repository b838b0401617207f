#include "runtime/captured_arguments.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate {
namespace {

using ::testing::ElementsAre;

std::vector<uint8_t> Read(const CapturedArguments& captured, uint64_t address,
                          std::vector<uint8_t> live) {
  captured.CopyTo(address, absl::MakeSpan(live));
  return live;
}

TEST(CapturedArgumentsTest, StandsForTheLiveBytes) {
  CapturedArguments captured;
  captured.Add(10, {1, 2, 3});
  EXPECT_THAT(Read(captured, 10, {0, 0, 0}), ElementsAre(1, 2, 3));
  EXPECT_THAT(Read(captured, 8, {7, 7, 7, 7}), ElementsAre(7, 7, 1, 2));
  EXPECT_THAT(Read(captured, 12, {7, 7}), ElementsAre(3, 7));
  EXPECT_THAT(Read(captured, 13, {7}), ElementsAre(7));
  EXPECT_THAT(Read(captured, 7, {7, 7, 7}), ElementsAre(7, 7, 7));
  EXPECT_EQ(captured.bytes(), 3);
}

TEST(CapturedArgumentsTest, TheFirstCopyOfAByteCounts) {
  CapturedArguments captured;
  captured.Add(10, {1, 2, 3});
  // The guest has changed them in between.
  const auto second = captured.Add(11, {8, 9, 9});
  EXPECT_THAT(std::vector<uint8_t>(second.begin(), second.end()),
              ElementsAre(2, 3, 9));
  EXPECT_EQ(captured.bytes(), 6);
}

TEST(CapturedArgumentsTest, CopiesStayWhereTheyAre) {
  CapturedArguments captured;
  const auto first = captured.Add(0, {1, 2, 3});
  for (uint64_t i = 1; i < 100; ++i) captured.Add(10 * i, {4});
  EXPECT_THAT(std::vector<uint8_t>(first.begin(), first.end()),
              ElementsAre(1, 2, 3));
}

TEST(CapturedArgumentsTest, TheHostReadsWhatItWrote) {
  CapturedArguments captured;
  captured.Add(10, {1, 2, 3});
  captured.Overwrite(8, {5, 5, 5});
  captured.Overwrite(20, {6});
  EXPECT_THAT(Read(captured, 10, {0, 0, 0}), ElementsAre(5, 2, 3));
}

TEST(CapturedArgumentsTest, NothingOfACallIsLeftForTheNext) {
  CapturedArguments captured;
  captured.Add(10, {1, 2, 3});
  captured.Clear();
  EXPECT_EQ(captured.bytes(), 0);
  EXPECT_THAT(Read(captured, 10, {7, 7, 7}), ElementsAre(7, 7, 7));
  captured.Add(0, {9});
  EXPECT_THAT(Read(captured, 10, {7, 7, 7}), ElementsAre(7, 7, 7));
}

TEST(CapturedArgumentsTest, TheEndOfTheAddressSpaceIsNoPlaceToWrap) {
  CapturedArguments captured;
  captured.Add(~uint64_t{0} - 3, {1, 2, 3});
  EXPECT_THAT(Read(captured, ~uint64_t{0} - 2, {7, 7}), ElementsAre(2, 3));
  EXPECT_THAT(Read(captured, 0, {7, 7}), ElementsAre(7, 7));
}

}  // namespace
}  // namespace callgate
