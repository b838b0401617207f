// Drives the fuzz entry over mutated profiles, a fixed number of times with a
// fixed seed: what libFuzzer does without end where there is one.

#include "policy/anomaly/profile_fuzz.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "policy/anomaly/learned_stream.h"
#include "policy/anomaly/profile_bytes.h"

namespace callgate::policy::anomaly {
namespace {

void Feed(const std::string& input) {
  // SAFETY: characters may be looked at as bytes.
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

std::vector<std::string> Seeds() {
  Shape shares;
  shares.share_weight = 3277;
  Shape bare;
  bare.ngram = 2;
  bare.site_functions = 0;
  bare.errnos = false;
  const std::vector<MadeCall> one = {{"a"}, {"b", 7}, {"a"}};
  const std::vector<MadeCall> two = {{"b"}, {"", 3, ErrnoClass::kDenied}};
  return {
      SerialiseProfile(Profile(Shape(), 10)),
      SerialiseProfile(Learned(Shape(), {one})),
      SerialiseProfile(Learned(shares, {one, two, one})),
      SerialiseProfile(Learned(bare, {two, one, two, two, two, two})),
  };
}

TEST(ProfileFuzzTest, TakesItsSeeds) {
  for (const std::string& seed : Seeds()) {
    EXPECT_TRUE(ParseProfile(seed).ok());
    Feed(seed);
  }
}

TEST(ProfileFuzzTest, SurvivesMutations) {
  const std::vector<std::string> seeds = Seeds();
  std::mt19937_64 random(20261126);
  const auto below = [&random](size_t end) {
    return std::uniform_int_distribution<size_t>(0, end - 1)(random);
  };
  for (int i = 0; i < 40'000; ++i) {
    std::string input = seeds[below(seeds.size())];
    for (size_t change = 0; change <= below(4); ++change) {
      const size_t at = below(input.size());
      switch (below(5)) {
        case 0:
          input[at] = static_cast<char>(below(256));
          break;
        case 1:
          input[at] = static_cast<char>(input[at] + (below(2) == 0 ? 1 : -1));
          break;
        case 2:
          input.erase(at, 1 + below(8));
          break;
        case 3: {
          const std::string& other = seeds[below(seeds.size())];
          input.insert(at, other, below(other.size()), below(16));
          break;
        }
        default:
          for (size_t j = at; j < std::min(input.size(), at + 4); ++j) {
            input[j] = static_cast<char>(0xff);
          }
          break;
      }
      if (input.empty()) input = "c";
    }
    Feed(input);
  }
}

}  // namespace
}  // namespace callgate::policy::anomaly
