// That the comparison would find mistakes: each of a list of them is planted in
// the native engine's code, and has to show within a bounded number of modules.

#include "runtime/native/compiler/planted_faults.h"

#include <cstdio>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/differential.h"

namespace callgate::fuzz {
namespace {

using native::PlantedFault;

constexpr uint64_t kModulesMax = 200;
// Looked at first. In the order of the seeds two of the mistakes, an overflow
// that wraps and a shift's mask, show here and not before.
constexpr uint64_t kFirstSeeds[] = {421, 880};

TEST(PlantedFaultsTest, EveryOneIsFound) {
  Differential engines;
  std::vector<PlantedFault> open;
  for (size_t i = 0; i < native::kPlantedFaults; ++i) {
    open.push_back(static_cast<PlantedFault>(i));
  }
  for (uint64_t i = 0; i < kModulesMax && !open.empty(); ++i) {
    const uint64_t seed = i < std::size(kFirstSeeds)
                              ? kFirstSeeds[i]
                              : i + 1 - std::size(kFirstSeeds);
    const std::vector<uint8_t> bytes = BytesOfSeed(seed, kSeedBytes);
    const std::vector<Differential::Found> all =
        engines.CheckFaults(bytes, open);
    if (all.empty()) continue;
    // It is the fault that shows, and nothing else.
    EXPECT_EQ(engines.Check(bytes), "") << seed;
    for (const Differential::Found& found : all) {
      const std::string name(PlantedFaultName(found.fault));
      std::printf("module %3llu  %-30s %s\n",
                  static_cast<unsigned long long>(seed), name.c_str(),
                  found.difference.c_str());
      std::vector<PlantedFault> rest;
      for (const PlantedFault fault : open) {
        if (fault != found.fault) rest.push_back(fault);
      }
      open = rest;
    }
  }
  for (const PlantedFault fault : open) {
    ADD_FAILURE() << "not found in " << kModulesMax
                  << " modules: " << PlantedFaultName(fault);
  }
}

}  // namespace
}  // namespace callgate::fuzz
