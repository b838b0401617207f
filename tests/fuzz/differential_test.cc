// A bounded run with fixed seeds. A long one: see differential_main.cc.

#include "tests/fuzz/differential.h"

#include <chrono>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/fuzz/byte_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace callgate::fuzz {
namespace {

constexpr uint64_t kModules = 150;
// On a machine that is busy with other things a part of them has to do.
constexpr uint64_t kModulesAtLeast = 20;
constexpr auto kTime = std::chrono::seconds(15);

TEST(DifferentialTest, EnginesAgreeOnGeneratedModules) {
  Differential engines;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t seed = 1; seed <= kModules; ++seed) {
    if (seed > kModulesAtLeast &&
        std::chrono::steady_clock::now() - begin > kTime) {
      break;
    }
    const std::vector<uint8_t> bytes = BytesOfSeed(seed, kSeedBytes);
    const std::string difference = engines.Check(bytes);
    if (difference.empty()) continue;
    const char* const folder = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
    FAIL() << "seed " << seed << ": "
           << Report(bytes, difference,
                     absl::StrCat(folder == nullptr ? "." : folder,
                                  "/difference"));
  }
  // That it was worth something.
  const Tally& tally = engines.tally();
  EXPECT_GE(tally.modules, kModulesAtLeast);
  EXPECT_GT(tally.values, tally.modules);
  EXPECT_GT(tally.traps, tally.modules / 4);
  EXPECT_LT(tally.exhausted, tally.modules / 10 + 1);
}

TEST(DifferentialTest, AnyBytesMakeAModule) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{60}}) {
    const std::vector<uint8_t> bytes = BytesOfSeed(9, size);
    EXPECT_EQ(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()), 0);
  }
}

}  // namespace
}  // namespace callgate::fuzz
