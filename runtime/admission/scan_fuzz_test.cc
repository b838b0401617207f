// A bounded, repeatable run of the fuzz target: modules that are valid, broken
// in small ways by a generator with fixed seeds.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/admission/module_bytes.h"
#include "runtime/admission/scan.h"

// Aborts the test when the scan breaks a promise.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace callgate::admission {
namespace {

// std::mt19937_64 gives the same numbers everywhere; distributions do not, so
// the numbers are reduced here.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  Bytes Mutate(Bytes bytes) {
    const uint64_t changes = 1 + Below(4);
    for (uint64_t i = 0; i < changes; ++i) Change(bytes);
    return bytes;
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }

  uint8_t AByte() {
    // Numbers at which the format changes its meaning, and any others.
    constexpr uint8_t kTelling[] = {0x00, 0x01, 0x04, 0x05, 0x0b, 0x0e, 0x3f,
                                    0x40, 0x41, 0x60, 0x6f, 0x70, 0x7f, 0x80,
                                    0xfb, 0xfc, 0xfd, 0xfe, 0xff};
    return Below(2) == 0 ? kTelling[Below(sizeof(kTelling))]
                         : static_cast<uint8_t>(random_());
  }

  void Change(Bytes& bytes) {
    if (bytes.empty()) {
      bytes.push_back(AByte());
      return;
    }
    const auto at = std::next(bytes.begin(),
                              static_cast<std::ptrdiff_t>(Below(bytes.size())));
    switch (Below(6)) {
      case 0:
        *at = AByte();
        return;
      case 1:
        *at = static_cast<uint8_t>(*at ^ (1u << Below(8)));
        return;
      case 2:
        bytes.insert(at, AByte());
        return;
      case 3:
        bytes.erase(at);
        return;
      case 4:
        bytes.erase(at, bytes.end());
        return;
      default: {
        // A piece again, somewhere: a second section, a second body.
        const uint64_t most =
            static_cast<uint64_t>(std::distance(at, bytes.end()));
        const Bytes piece(
            at, std::next(at, static_cast<std::ptrdiff_t>(Below(most) + 1)));
        bytes.insert(std::next(bytes.begin(), static_cast<std::ptrdiff_t>(
                                                  Below(bytes.size()))),
                     piece.begin(), piece.end());
        return;
      }
    }
  }

  std::mt19937_64 random_;
};

std::vector<Bytes> Seeds() {
  return {
      RichModule(),
      Module({}),
      ModuleWithCode({0x02, 0x40, 0x41, 0x00, 0x0d, 0x00, 0x0b}),
      ModuleWithTag({0x06, 0x40, 0x08, 0x00, 0x07, 0x00, 0x09, 0x00, 0x19, 0x0b,
                     0x06, 0x40, 0x18, 0x00}),
      ModuleWithGlobal({0x41, 0x01, 0x41, 0x02, 0x6a, 0x0b}),
      ModuleWithRawBody(Join({Vec({{0x05, 0x7f}, {0x01, 0x7c}}), {0x0b}})),
      ModuleWithExports({{0x01, 'f', 0x00, 0x00}, {0x01, 'g', 0x00, 0x00}}),
      ModuleWithCode({0x41, 0x00, 0xfe, 0x10, 0x02, 0x00, 0x1a}),
      Module({Section(5, Vec({{0x07, 0x01, 0x02}, {0x04, 0x01}}))}),
  };
}

class ScanFuzz : public testing::TestWithParam<size_t> {};

TEST_P(ScanFuzz, HoldsOnMutationsOfAValidModule) {
  const Bytes seed = Seeds()[GetParam()];
  LLVMFuzzerTestOneInput(seed.data(), seed.size());
  Mutator mutator(0xca11'6a7e + GetParam());
  constexpr int kRuns = 20000;
  int admitted = 0;
  for (int i = 0; i < kRuns; ++i) {
    const Bytes bytes = mutator.Mutate(seed);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    if (Scan(bytes, ModuleLimits{}, Features{}).admitted()) ++admitted;
  }
  // A run that never gets past the first check would prove nothing.
  EXPECT_LT(admitted, kRuns);
  RecordProperty("admitted", admitted);
}

TEST_P(ScanFuzz, HoldsOnEveryPrefix) {
  const Bytes seed = Seeds()[GetParam()];
  for (size_t size = 0; size <= seed.size(); ++size) {
    // On the heap in its exact size, so that a sanitizer sees each byte too
    // many.
    const Bytes prefix(
        seed.begin(),
        std::next(seed.begin(), static_cast<std::ptrdiff_t>(size)));
    LLVMFuzzerTestOneInput(prefix.data(), prefix.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ScanFuzz,
                         testing::Range(size_t{0}, Seeds().size()));

}  // namespace
}  // namespace callgate::admission
