#include "policy/state/fingerprint.h"

#include <limits>
#include <set>

#include "gtest/gtest.h"

namespace callgate::policy {
namespace {

using expression::ErrorCode;
using expression::Value;

uint64_t Of(std::initializer_list<Value> values, FingerprintKey key = {1, 2}) {
  Fingerprint fingerprint(key);
  for (const Value& value : values) fingerprint.Add(value);
  return fingerprint.Finish();
}

// The vectors of the paper's reference, cut to whole words: key 00..0f, message
// 00..07 with its length in the last word.
TEST(FingerprintTest, IsSipHashOfWords) {
  const FingerprintKey key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  EXPECT_EQ(Fingerprint(key).Finish(), 0x726fdb47dd0e0e31u);
}

TEST(FingerprintTest, DependsOnKindValueOrderAndKey) {
  std::set<uint64_t> seen;
  const Value items[] = {Value::Int(1), Value::Int(2)};
  const Value one[] = {Value::Int(1)};
  for (const uint64_t hash : {Of({}),
                              Of({Value()}),
                              Of({Value::Null()}),
                              Of({Value::Int(1)}),
                              Of({Value::Uint(1)}),
                              Of({Value::Bool(true)}),
                              Of({Value::Int(2)}),
                              Of({Value::Double(1)}),
                              Of({Value::Int(1), Value::Int(2)}),
                              Of({Value::Int(2), Value::Int(1)}),
                              Of({Value::String("ab")}),
                              Of({Value::Bytes("ab")}),
                              Of({Value::String("ab"), Value::String("")}),
                              Of({Value::String("a"), Value::String("b")}),
                              Of({Value::String(""), Value::String("ab")}),
                              Of({Value::String("abcdefgh")}),
                              Of({Value::String("abcdefghi")}),
                              Of({Value::List(items)}),
                              Of({Value::List(one)}),
                              Of({Value::List(one), Value::Int(2)}),
                              Of({Value::Error(ErrorCode::kOverflow, 0)}),
                              Of({Value::Int(1)}, {1, 3})}) {
    EXPECT_TRUE(seen.insert(hash).second) << seen.size();
  }
  EXPECT_EQ(Of({Value::String("ab")}), Of({Value::String("ab")}));
  EXPECT_EQ(Of({Value::Double(0.0)}), Of({Value::Double(-0.0)}));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(Of({Value::Double(nan)}), Of({Value::Double(-nan)}));
}

TEST(FingerprintTest, KeysAreRandom) {
  const FingerprintKey a = FingerprintKey::Random();
  const FingerprintKey b = FingerprintKey::Random();
  EXPECT_TRUE(a.k0 != b.k0 || a.k1 != b.k1);
  EXPECT_NE(a.k0, a.k1);
}

}  // namespace
}  // namespace callgate::policy
