// That the comparison would find mistakes: each of a list of them is planted in
// the native engine's code, and has to show within a bounded number of modules.

#include "runtime/native/compiler/planted_faults.h"

#include <cstdio>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/differential.h"

namespace callgate::fuzz {
namespace {

using native::PlantedFault;

constexpr uint64_t kModulesMax = 200;

// A module that shows the fault, so that the test does not go through those
// that do not. Where the generator or the compiler has changed and it no longer
// shows there, the seeds from 1 on follow.
uint64_t FirstSeed(PlantedFault fault) {
  switch (fault) {
    case PlantedFault::kDivisionOverflowWraps:
    case PlantedFault::kBranchTableDefaultIsFirst:
    case PlantedFault::kFuelChargedShort:
    case PlantedFault::kHostArgumentsSwapped:
      return 421;
    case PlantedFault::kWideShiftMaskOfNarrow:
    case PlantedFault::kGlobalWriteLost:
      return 880;
    case PlantedFault::kMemoryBoundTooStrict:
      return 5;
    case PlantedFault::kNanNotCanonical:
      return 7;
    case PlantedFault::kSignedCompareAsUnsigned:
      return 11;
    case PlantedFault::kWrongTrapCode:
      return 29;
    case PlantedFault::kMemoryCopyReversed:
      return 33;
    case PlantedFault::kTableBoundTooLoose:
      return 48;
    case PlantedFault::kMinimumIgnoresNan:
      return 50;
    case PlantedFault::kMemoryLengthStale:
      return 52;
    case PlantedFault::kLoad8SignedZeroExtends:
    case PlantedFault::kSelectArmsSwapped:
    case PlantedFault::kRotateTheOtherWay:
      return 64;
    case PlantedFault::kSaturationIsSigned:
      return 86;
    case PlantedFault::kUnsignedConversionIsSigned:
      return 98;
    case PlantedFault::kNarrowStoreLost:
    case PlantedFault::kCount:
      break;
  }
  return 1;
}

class PlantedFaultsTest : public testing::TestWithParam<size_t> {};

TEST_P(PlantedFaultsTest, IsFound) {
  const auto fault = static_cast<PlantedFault>(GetParam());
  Differential engines;
  for (uint64_t i = 0; i <= kModulesMax; ++i) {
    const uint64_t seed = i == 0 ? FirstSeed(fault) : i;
    const std::vector<uint8_t> bytes = BytesOfSeed(seed, kSeedBytes);
    const std::vector<Differential::Found> found =
        engines.CheckFaults(bytes, {&fault, 1});
    if (found.empty()) continue;
    std::printf("module %llu: %s\n", static_cast<unsigned long long>(seed),
                found[0].difference.c_str());
    // It is the fault that shows, and nothing else.
    EXPECT_EQ(engines.Check(bytes), "") << seed;
    return;
  }
  FAIL() << "not found in " << kModulesMax << " modules";
}

INSTANTIATE_TEST_SUITE_P(All, PlantedFaultsTest,
                         testing::Range(size_t{0}, native::kPlantedFaults),
                         [](const testing::TestParamInfo<size_t>& one) {
                           return std::string(PlantedFaultName(
                               static_cast<PlantedFault>(one.param)));
                         });

}  // namespace
}  // namespace callgate::fuzz
