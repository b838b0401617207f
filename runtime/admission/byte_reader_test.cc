#include "runtime/admission/byte_reader.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/admission/scan_testing.h"

namespace callgate::admission {
namespace {

enum class Width { kU32, kU64, kS32, kS33, kS64 };

// As 64 bits, whatever the width.
std::optional<uint64_t> Read(Width width, const std::vector<uint8_t>& bytes) {
  const ModuleLimits limits;
  const Features features;
  ScanState state{limits, features, std::nullopt, 0};
  ByteReader in(bytes, state);
  uint64_t value = 0;
  switch (width) {
    case Width::kU32:
      value = in.U32("a number");
      break;
    case Width::kU64:
      value = in.U64("a number");
      break;
    case Width::kS32:
      value = static_cast<uint64_t>(int64_t{in.S32("a number")});
      break;
    case Width::kS33:
      value = static_cast<uint64_t>(in.S33("a number"));
      break;
    case Width::kS64:
      value = static_cast<uint64_t>(in.S64("a number"));
      break;
  }
  in.ExpectEnd();
  if (!in.ok()) return std::nullopt;
  return value;
}

struct NumberRow {
  std::string name;
  Width width;
  std::vector<uint8_t> bytes;
  std::optional<uint64_t> value;  // none: refused
};

class Number : public testing::TestWithParam<NumberRow> {};

TEST_P(Number, IsReadOrRefused) {
  EXPECT_EQ(Read(GetParam().width, GetParam().bytes), GetParam().value);
}

constexpr uint64_t Minus(int64_t value) {
  return static_cast<uint64_t>(-value);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, Number,
    testing::ValuesIn<NumberRow>({
        {"u32_zero", Width::kU32, {0x00}, 0},
        {"u32_two_bytes", Width::kU32, {0xe5, 0x0e}, 0x765},
        {"u32_padded", Width::kU32, {0x80, 0x80, 0x80, 0x80, 0x00}, 0},
        {"u32_all_ones",
         Width::kU32,
         {0xff, 0xff, 0xff, 0xff, 0x0f},
         0xffffffff},
        {"u32_unused_bit",
         Width::kU32,
         {0xff, 0xff, 0xff, 0xff, 0x1f},
         std::nullopt},
        {"u32_six_bytes",
         Width::kU32,
         {0x80, 0x80, 0x80, 0x80, 0x80, 0x00},
         std::nullopt},
        {"u32_cut_short", Width::kU32, {0x80}, std::nullopt},
        {"u32_empty", Width::kU32, {}, std::nullopt},
        {"u64_all_ones",
         Width::kU64,
         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
         std::numeric_limits<uint64_t>::max()},
        {"u64_unused_bit",
         Width::kU64,
         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
         std::nullopt},
        {"u64_eleven_bytes",
         Width::kU64,
         {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00},
         std::nullopt},
        {"s32_minus_one", Width::kS32, {0x7f}, Minus(1)},
        {"s32_63", Width::kS32, {0x3f}, 63},
        {"s32_minus_64", Width::kS32, {0x40}, Minus(64)},
        {"s32_minus_one_padded",
         Width::kS32,
         {0xff, 0xff, 0xff, 0xff, 0x7f},
         Minus(1)},
        {"s32_largest",
         Width::kS32,
         {0xff, 0xff, 0xff, 0xff, 0x07},
         0x7fffffff},
        {"s32_smallest",
         Width::kS32,
         {0x80, 0x80, 0x80, 0x80, 0x78},
         Minus(int64_t{1} << 31)},
        {"s32_one_past_the_largest",
         Width::kS32,
         {0x80, 0x80, 0x80, 0x80, 0x08},
         std::nullopt},
        {"s32_one_past_the_smallest",
         Width::kS32,
         {0xff, 0xff, 0xff, 0xff, 0x77},
         std::nullopt},
        {"s32_six_bytes",
         Width::kS32,
         {0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
         std::nullopt},
        {"s33_largest",
         Width::kS33,
         {0xff, 0xff, 0xff, 0xff, 0x0f},
         0xffffffff},
        {"s33_smallest",
         Width::kS33,
         {0x80, 0x80, 0x80, 0x80, 0x70},
         Minus(int64_t{1} << 32)},
        {"s33_one_past_the_largest",
         Width::kS33,
         {0x80, 0x80, 0x80, 0x80, 0x10},
         std::nullopt},
        {"s33_one_past_the_smallest",
         Width::kS33,
         {0xff, 0xff, 0xff, 0xff, 0x6f},
         std::nullopt},
        {"s64_smallest",
         Width::kS64,
         {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f},
         uint64_t{1} << 63},
        {"s64_largest",
         Width::kS64,
         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00},
         (uint64_t{1} << 63) - 1},
        {"s64_unused_bits",
         Width::kS64,
         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
         std::nullopt},
        {"bytes_after_it", Width::kS64, {0x00, 0x00}, std::nullopt},
    }),
    RowName());

TEST(ByteReaderTest, KeepsToTheFirstRefusal) {
  const ModuleLimits limits;
  const Features features;
  ScanState state{limits, features, std::nullopt, 0};
  const std::vector<uint8_t> bytes = {1, 2, 3, 4};
  ByteReader in(bytes, state);
  ByteReader window = in.Window(2, "a window");
  in.SetSubject("item", 7);
  EXPECT_FALSE(in.Malformed(2, "first"));
  EXPECT_FALSE(window.Malformed(0, "second"));
  EXPECT_TRUE(window.AtEnd());
  EXPECT_EQ(window.Byte("a byte"), 0);
  EXPECT_EQ(in.remaining(), 0u);
  EXPECT_TRUE(in.Bytes(2, "bytes").empty());
  EXPECT_EQ(state.refusal->message, "item 7: first, at byte 2");
}

TEST(ByteReaderTest, KeepsAWindowFromReadingFurther) {
  const ModuleLimits limits;
  const Features features;
  ScanState state{limits, features, std::nullopt, 0};
  const std::vector<uint8_t> bytes = {1, 2, 3};
  ByteReader in(bytes, state);
  ByteReader window = in.Window(2, "a window");
  EXPECT_EQ(window.Byte("a byte"), 1);
  EXPECT_EQ(window.Byte("a byte"), 2);
  EXPECT_TRUE(window.AtEnd());
  EXPECT_EQ(in.Byte("a byte"), 3);
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(window.Byte("a byte"), 0);
  EXPECT_FALSE(in.ok());
}

}  // namespace
}  // namespace callgate::admission
