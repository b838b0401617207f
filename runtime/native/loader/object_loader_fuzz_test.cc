// A bounded, repeatable run of the fuzz target: objects that are valid, broken
// in small ways: every byte, every prefix, and several fields at once by a
// generator with fixed seeds.

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/native/loader/object_loader.h"
#include "runtime/native/loader/objects_testing.h"

// Aborts the test when the loader breaks a promise.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace callgate::native {
namespace {

void LoadOrRefuse(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

ElfWriter RelocatedObject() {
  ElfWriter writer = SmallObject();
  writer.symbols.push_back({"p0", STT_FUNC, STB_GLOBAL, kText, 48, 16});
  writer.symbols.push_back({"memcpy"});
  writer.symbols.push_back({"", STT_SECTION, STB_LOCAL, kRodata, 0, 0});
  writer.relocations = {
      {kText, 4, R_X86_64_PLT32, 5, -4}, {kText, 8, R_X86_64_PC32, 6, -4},
      {kText, 16, R_X86_64_64, 1, 0},    {kText, 24, R_X86_64_PC64, 6, 8},
      {kRodata, 0, R_X86_64_PC32, 1, 4},
  };
  return writer;
}

std::vector<std::string> Seeds() {
  return {
      absl::StrCat(std::string(1, '\0'), RelocatedObject().Write()),
      absl::StrCat("\1", TestObject("first"), TestObject("second")),
      absl::StrCat("\2", TestObject("from_llvm")),
  };
}

// std::mt19937_64 gives the same numbers everywhere; distributions do not, so
// the numbers are reduced here.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  std::string Mutate(std::string bytes) {
    const uint64_t changes = 1 + Below(4);
    for (uint64_t i = 0; i < changes; ++i) Change(bytes);
    return bytes;
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }

  // A whole field: numbers at which sizes and offsets go wrong.
  void Change(std::string& bytes) {
    constexpr uint64_t kTelling[] = {0,
                                     1,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff'ffff,
                                     0x8000'0000,
                                     0xffff'ffff,
                                     0x7fff'ffff'ffff'ffff,
                                     0x8000'0000'0000'0000,
                                     ~uint64_t{0},
                                     0xffff'ffff'ffff'f000};
    constexpr size_t kWidths[] = {1, 2, 4, 8};
    const size_t width = kWidths[Below(4)];
    if (bytes.size() < width + 1) return;
    // Fields are aligned; the byte before the first file is not part of it.
    const size_t at = 1 + Below((bytes.size() - 1) / width) * width;
    uint64_t value = 0;
    switch (Below(3)) {
      case 0:
        value = kTelling[Below(sizeof(kTelling) / sizeof(kTelling[0]))];
        break;
      case 1:
        value = Below(bytes.size() * 2);
        break;
      default:
        value = Below(32);
        break;
    }
    for (size_t i = 0; i < width && at + i < bytes.size(); ++i) {
      bytes[at + i] = static_cast<char>(value >> (8 * i));
    }
  }

  std::mt19937_64 random_;
};

TEST(ObjectLoaderFuzzTest, BeginsWithObjectsThatLoad) {
  const std::string object = RelocatedObject().Write();
  const Redirect redirects[] = {{0, 1}};
  LoadOptions options;
  options.redirects = redirects;
  const auto code = LoadObjects({object}, ExpectedOfSmallObject(), options);
  EXPECT_TRUE(code.ok()) << code.status();
}

class ObjectLoaderFuzz : public testing::TestWithParam<size_t> {
 protected:
  const std::string seed_ = Seeds()[GetParam()];
};

TEST_P(ObjectLoaderFuzz, HoldsOnEveryChangedByte) {
  std::string input = seed_;
  LoadOrRefuse(input);
  for (size_t at = 1; at < input.size(); ++at) {
    const auto was = static_cast<unsigned char>(input[at]);
    // One bit of each byte, a different one in its neighbours, and all bits.
    for (const unsigned bits : {1u << (at * 5 % 8), 0xffu}) {
      input[at] = static_cast<char>(was ^ bits);
      LoadOrRefuse(input);
    }
    input[at] = static_cast<char>(was);
  }
}

TEST_P(ObjectLoaderFuzz, HoldsOnEveryPrefix) {
  for (size_t size = 0; size <= seed_.size(); ++size) {
    LoadOrRefuse(seed_.substr(0, size));
  }
}

TEST_P(ObjectLoaderFuzz, HoldsOnChangedFields) {
  Mutator mutator(0xca11'6a7e + GetParam());
  for (int i = 0; i < 5000; ++i) LoadOrRefuse(mutator.Mutate(seed_));
}

INSTANTIATE_TEST_SUITE_P(Seeds, ObjectLoaderFuzz,
                         testing::Range(size_t{0}, size_t{3}));

}  // namespace
}  // namespace callgate::native
