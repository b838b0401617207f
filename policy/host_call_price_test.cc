#include "policy/host_call_price.h"

#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "policy/hook/fake_call.h"

namespace callgate::policy {
namespace {

constexpr ValType kI32 = ValType::kI32;

TEST(FuelOfTest, IsBaseAndBytesRoundedUpAndNeverWraps) {
  struct Row {
    HostCallPrice price;
    uint64_t bytes;
    uint64_t fuel;
  };
  const Row rows[] = {
      {{0, 0}, 100, 0},
      {{200, 0}, 100, 200},
      {{200, 4}, 100, 600},
      {{5000, 1.5}, 3, 5005},  // 4.5 is 5
      {{0, 0.001}, 1, 1},
      {{0, 1.5}, 0, 0},
      {{~uint64_t{0}, 0}, 0, kPriceMax},
      {{kPriceMax, 1}, 1, kPriceMax},
      {{0, 1e6}, ~uint64_t{0}, kPriceMax},
      {{1, 1}, kPriceMax, kPriceMax},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(FuelOf(row.price, row.bytes), row.fuel)
        << row.price.base << " + " << row.price.per_byte << " x " << row.bytes;
  }
}

TEST(SizedArgumentsTest, AreThoseWithALengthOnce) {
  const FuncType type{{kI32, kI32, kI32, kI32, ValType::kI64}, {kI32}};
  HostFunctionSpec spec;
  spec.args = {{"fd", 0, ArgKind::kHandle}, {"data", 1, ArgKind::kBytes, 2}};
  std::vector<ArgSpec> sized = SizedArguments(type, &spec, {});
  ASSERT_EQ(sized.size(), 1u);
  EXPECT_EQ(sized[0].name, "data");
  // What a file says of others, and of the same one under another name.
  std::vector<ArgumentRule> rules(3);
  rules[0].name = "same";
  rules[0].index = 1;
  rules[0].kind = ArgKind::kString;
  rules[0].len_index = 2;
  rules[1].name = "out";
  rules[1].index = 3;
  rules[1].kind = ArgKind::kBytesOut;
  rules[1].len_index = 4;
  rules[2].name = "nonsense";
  rules[2].index = 17;
  rules[2].kind = ArgKind::kBytes;
  rules[2].len_index = 18;
  sized = SizedArguments(type, &spec, rules);
  ASSERT_EQ(sized.size(), 2u);
  EXPECT_EQ(sized[1].name, "out");
  EXPECT_EQ(sized[1].len_index, 4u);
  EXPECT_TRUE(SizedArguments(type, nullptr, {}).empty());
}

class BytesOfArgumentsTest : public testing::Test {
 protected:
  void Put32(size_t at, uint32_t value) {
    std::memcpy(memory_.data() + at, &value, sizeof(value));
  }
  uint64_t Bytes(const ArgSpec& arg, uint32_t address, uint32_t length) {
    FunctionIdentity identity;
    FakeCall call(Transition::kCallingHost, identity,
                  {RawValue::I32(address), RawValue::I32(length)});
    call.WithMemory(&memory_);
    const auto bytes = BytesOfArguments({arg}, type_, call);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return bytes.value_or(0);
  }

  const FuncType type_{{kI32, kI32}, {kI32}};
  std::vector<uint8_t> memory_ = std::vector<uint8_t>(4096);
};

TEST_F(BytesOfArgumentsTest, AreLengthsInsideMemory) {
  const ArgSpec data{"data", 0, ArgKind::kBytes, 1};
  EXPECT_EQ(Bytes(data, 0, 0), 0u);
  EXPECT_EQ(Bytes(data, 16, 100), 100u);
  // More than there is cannot be moved.
  EXPECT_EQ(Bytes(data, 16, 0xffffffff), 4096u);
  const ArgSpec out{"buf", 0, ArgKind::kBytesOut, 1};
  EXPECT_EQ(Bytes(out, 16, 100), 100u);
}

TEST_F(BytesOfArgumentsTest, OfAnIovecAreThoseOfItsPairs) {
  const ArgSpec iovec{"iovs", 0, ArgKind::kIovecIn, 1};
  Put32(100, 0);
  Put32(104, 7);
  Put32(108, 64);
  Put32(112, 5);
  Put32(116, 0);
  Put32(120, 0xffffffff);
  EXPECT_EQ(Bytes(iovec, 100, 0), 0u);
  EXPECT_EQ(Bytes(iovec, 100, 2), 12u);
  EXPECT_EQ(Bytes(iovec, 100, 3), 12u + 4096);
  // Its pairs are not in memory: nothing is moved.
  EXPECT_EQ(Bytes(iovec, 4090, 2), 0u);
  // More than anybody looks at is as dear as can be.
  EXPECT_EQ(Bytes(iovec, 100, 2000), uint64_t{2000} * 4096);
}

}  // namespace
}  // namespace callgate::policy
