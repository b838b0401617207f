#include "runtime/native/cache/cache_key.h"

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace callgate::native {
namespace {

TEST(CacheKeyTest, DependsOnEverything) {
  using admission::Features;
  const CacheKey::Bytes digest = {1, 2, 3};
  const CompileRequest request;
  std::set<CacheKey> keys = {CacheKey::Of(digest, request, "llvm 19")};
  size_t expected = 1;

  EXPECT_FALSE(keys.insert(CacheKey::Of(digest, request, "llvm 19")).second);
  for (const char* const compiler : {"llvm 20", "llvm 1", "", "llvm 19 "}) {
    keys.insert(CacheKey::Of(digest, request, compiler));
    EXPECT_EQ(keys.size(), ++expected) << compiler;
  }
  for (size_t i = 0; i < digest.size(); ++i) {
    CacheKey::Bytes other = digest;
    other[i] ^= 0x80;
    keys.insert(CacheKey::Of(other, request, "llvm 19"));
    EXPECT_EQ(keys.size(), ++expected) << i;
  }
  const std::vector<std::function<void(CompileRequest&)>> changes = {
      [](CompileRequest& r) { r.level = Level::kOptimised; },
      [](CompileRequest& r) { r.cpu = CpuLevel::kX86_64_v3; },
      [](CompileRequest& r) { r.fuel = !r.fuel; },
      [](CompileRequest& r) { r.canonical_nans = !r.canonical_nans; },
  };
  for (const auto& change : changes) {
    CompileRequest other;
    change(other);
    keys.insert(CacheKey::Of(digest, other, "llvm 19"));
    EXPECT_EQ(keys.size(), ++expected);
  }
  for (bool Features::*feature :
       {&Features::mutable_globals, &Features::saturating_float,
        &Features::sign_extension, &Features::multi_value,
        &Features::bulk_memory, &Features::reference_types, &Features::simd,
        &Features::tail_call, &Features::extended_const,
        &Features::multi_memory, &Features::memory64, &Features::relaxed_simd,
        &Features::exceptions, &Features::threads}) {
    CompileRequest other;
    other.features.*feature = !(other.features.*feature);
    keys.insert(CacheKey::Of(digest, other, "llvm 19"));
    EXPECT_EQ(keys.size(), ++expected);
  }
}

TEST(CacheKeyTest, ReadsWhatItWrites) {
  const CacheKey key = CacheKey::Of({}, CompileRequest(), "");
  ASSERT_EQ(key.hex().size(), 64u);
  EXPECT_EQ(CacheKey::Parse(key.hex()), key);
  std::string upper = key.hex();
  upper[10] = 'A';
  EXPECT_FALSE(CacheKey::Parse(upper).has_value());
  EXPECT_FALSE(CacheKey::Parse(key.hex() + "0").has_value());
  EXPECT_FALSE(CacheKey::Parse(key.hex().substr(1)).has_value());
  EXPECT_FALSE(CacheKey::Parse("").has_value());
  EXPECT_FALSE(CacheKey::Parse(std::string(64, '/')).has_value());
}

}  // namespace
}  // namespace callgate::native
