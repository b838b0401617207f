#include "server/cli/values.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace callgate::cli {
namespace {

struct GoodRow {
  std::string name;
  std::string text;
  std::optional<ValType> type;
  std::string bits;   // BitsText of what it means
  std::string plain;  // PlainText of what it means
};

class ValueText : public testing::TestWithParam<GoodRow> {};

TEST_P(ValueText, IsReadAndPrinted) {
  const GoodRow& row = GetParam();
  const auto value = ParseValue(row.text, row.type);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(BitsText(*value), row.bits);
  EXPECT_EQ(PlainText(*value), row.plain);
  EXPECT_EQ(value->type(), row.type.value_or(value->type()));
  // What is printed can be read again where the type is known, except for the
  // payload of a NaN.
  if (row.plain.find("nan") == std::string::npos) {
    const auto again = ParseValue(PlainText(*value), value->type());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(BitsText(*again), row.bits);
  }
}

constexpr auto kI32 = ValType::kI32;
constexpr auto kI64 = ValType::kI64;
constexpr auto kF32 = ValType::kF32;
constexpr auto kF64 = ValType::kF64;

INSTANTIATE_TEST_SUITE_P(
    Texts, ValueText,
    testing::ValuesIn<GoodRow>({
        {"i32", "i32:7", std::nullopt, "0x00000007", "7"},
        {"i32_with_the_type_known", "i32:7", kI32, "0x00000007", "7"},
        {"i32_plain", "7", kI32, "0x00000007", "7"},
        {"i32_minus_one", "-1", kI32, "0xffffffff", "-1"},
        {"i32_unsigned", "4294967295", kI32, "0xffffffff", "-1"},
        {"i32_least", "-2147483648", kI32, "0x80000000", "-2147483648"},
        {"i32_hex", "0x10", kI32, "0x00000010", "16"},
        {"i32_negative_hex", "-0x10", kI32, "0xfffffff0", "-16"},
        {"i32_plus", "+7", kI32, "0x00000007", "7"},
        {"i64_unsigned", "i64:14398862414735836711", std::nullopt,
         "0xc7d30913e80d8627", "-4047881658973714905"},
        {"i64_least", "-9223372036854775808", kI64, "0x8000000000000000",
         "-9223372036854775808"},
        {"i64_greatest", "18446744073709551615", kI64, "0xffffffffffffffff",
         "-1"},
        {"f32", "f32:0.5", std::nullopt, "0x3f000000", "0.5"},
        {"f32_shortest", "0.1", kF32, "0x3dcccccd", "0.1"},
        // Rounded once, straight to the narrow type.
        {"f32_rounds_once", "7.038531e-26", kF32, "0x15ae43fd", "7.038531e-26"},
        {"f32_bits", "f32bits:0x7fc00001", std::nullopt, "0x7fc00001", "nan"},
        {"f32_too_small_is_zero", "1e-60", kF32, "0x00000000", "0"},
        {"f64", "f64:-675.6431333983412", std::nullopt, "0xc0851d25231f86ba",
         "-675.6431333983412"},
        {"f64_bits", "f64bits:0xc0851d25231f86ba", std::nullopt,
         "0xc0851d25231f86ba", "-675.6431333983412"},
        {"f64_bits_where_the_type_is_known", "f64bits:0x1", kF64,
         "0x0000000000000001", "5e-324"},
        {"f64_whole", "3", kF64, "0x4008000000000000", "3"},
        {"f64_hex", "0x1.8p1", kF64, "0x4008000000000000", "3"},
        {"f64_negative_zero", "-0", kF64, "0x8000000000000000", "-0"},
        {"f64_inf", "inf", kF64, "0x7ff0000000000000", "inf"},
        {"f64_negative_inf", "f64:-inf", std::nullopt, "0xfff0000000000000",
         "-inf"},
        {"f64_nan", "nan", kF64, "0x7ff8000000000000", "nan"},
        {"f64_negative_nan", "-nan", kF64, "0xfff8000000000000", "-nan"},
        {"v128", "v128:0x000102030405060708090a0b0c0d0e0f", std::nullopt,
         "0x000102030405060708090a0b0c0d0e0f",
         "0x000102030405060708090a0b0c0d0e0f"},
        {"funcref_null", "funcref:null", std::nullopt, "0xffffffffffffffff",
         "null"},
        {"externref_null", "null", ValType::kExternRef, "0xffffffffffffffff",
         "null"},
        {"externref", "externref:3", std::nullopt, "0x0000000000000003", "3"},
    }),
    [](const auto& param) { return param.param.name; });

TEST(ValueV128Test, PutsTheMostSignificantByteLast) {
  const auto value =
      ParseValue("v128:0x000102030405060708090a0b0c0d0e0f", std::nullopt);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(value->v128().bytes[0], 0x0f);
  EXPECT_EQ(value->v128().bytes[15], 0x00);
}

struct BadRow {
  std::string name;
  std::string text;
  std::optional<ValType> type;
  std::string message;  // is part of it
};

class ValueTextRefusal : public testing::TestWithParam<BadRow> {};

TEST_P(ValueTextRefusal, SaysWhatWouldBeRight) {
  const auto value = ParseValue(GetParam().text, GetParam().type);
  ASSERT_FALSE(value.ok());
  EXPECT_NE(std::string(value.status().message()).find(GetParam().message),
            std::string::npos)
      << value.status();
}

INSTANTIATE_TEST_SUITE_P(
    Texts, ValueTextRefusal,
    testing::ValuesIn<BadRow>({
        {"no_type", "7", std::nullopt, "such as i32:7"},
        {"unknown_type", "i31:7", std::nullopt, "unknown type"},
        {"bits_of_an_integer", "i32bits:7", std::nullopt, "unknown type"},
        {"another_type", "i64:7", kI32, "the function takes type i32 here"},
        {"i32_one_too_many", "4294967296", kI32, "an i32 is a whole number"},
        {"i32_one_too_few", "-2147483649", kI32, "an i32 is a whole number"},
        {"i64_one_too_many", "18446744073709551616", kI64,
         "an i64 is a whole number"},
        {"i64_one_too_few", "-9223372036854775809", kI64,
         "an i64 is a whole number"},
        {"i32_fraction", "7.5", kI32, "an i32 is a whole number"},
        {"i32_empty", "", kI32, "an i32 is a whole number"},
        {"i32_blank", " 7", kI32, "an i32 is a whole number"},
        {"i32_two_signs", "--7", kI32, "an i32 is a whole number"},
        {"i32_tail", "7x", kI32, "an i32 is a whole number"},
        {"f32_over_the_range", "1e39", kF32, "within the range"},
        {"f64_over_the_range", "1e309", kF64, "within the range"},
        {"f64_word", "infinity", kF64, "such as 0.5"},
        {"f64_two_signs", "--1", kF64, "such as 0.5"},
        {"f64_hex_prefix_alone", "0x", kF64, "such as 0.5"},
        {"f32_bits_too_wide", "f32bits:0x100000000", kF32, "32 bits"},
        {"v128_short", "v128:0x00", std::nullopt, "32 hexadecimal digits"},
        {"v128_no_digit", "v128:0x0001020304050607080g0a0b0c0d0e0f",
         std::nullopt, "not a hexadecimal digit"},
        {"funcref", "funcref:3", std::nullopt, "null"},
        {"externref_negative", "externref:-1", std::nullopt, "handle"},
        {"escape", "\x1b[2J", kI32, "\"\\x1b[2J\""},
    }),
    [](const auto& param) { return param.param.name; });

TEST(ValuesTest, CountsThem) {
  const std::vector<ValType> params = {kI32, kI64};
  EXPECT_EQ(ParseValues({"1"}, params).status().message(),
            "the function takes 2 arguments (i32, i64), found 1");
  EXPECT_EQ(ParseValues({}, std::vector<ValType>{kI32}).status().message(),
            "the function takes 1 argument (i32), found 0");
  const auto values = ParseValues({"1", "i64:2"}, params);
  ASSERT_TRUE(values.ok()) << values.status();
  ASSERT_EQ(values->size(), 2u);
  EXPECT_EQ((*values)[1].u64(), 2u);
}

TEST(ParseHexTest, ReadsBytes) {
  EXPECT_EQ(*ParseHex("0x00ff61"), std::string("\x00\xff\x61", 3));
  EXPECT_EQ(*ParseHex("00 FF\n"), std::string("\x00\xff", 2));
  EXPECT_EQ(*ParseHex(""), "");
  EXPECT_FALSE(ParseHex("0").ok());
  EXPECT_FALSE(ParseHex("0g").ok());
}

TEST(ParseUnsignedTest, ReadsAddresses) {
  EXPECT_EQ(*ParseUnsigned("1024", "ADDR"), 1024u);
  EXPECT_EQ(*ParseUnsigned("0x400", "ADDR"), 1024u);
  EXPECT_FALSE(ParseUnsigned("-1", "ADDR").ok());
  EXPECT_EQ(ParseUnsigned("x", "ADDR").status().message(),
            "ADDR \"x\" is not a number; write it decimal or 0x-hexadecimal");
  EXPECT_FALSE(ParseUnsigned("18446744073709551616", "ADDR").ok());
}

}  // namespace
}  // namespace callgate::cli
