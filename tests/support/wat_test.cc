#include "tests/support/wat.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace callgate {
namespace {

std::string Text(const absl::Status& status) {
  return std::string(status.message());
}

bool Contains(const std::vector<uint8_t>& bytes, absl::string_view needle) {
  const std::string haystack(bytes.begin(), bytes.end());
  return haystack.find(std::string(needle)) != std::string::npos;
}

TEST(AssembleWatTest, WritesAFunctionByteForByte) {
  absl::StatusOr<std::vector<uint8_t>> bytes =
      AssembleWat("(module (func (result i32) i32.const 7))");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const std::vector<uint8_t> expected = {
      0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,   // magic, version
      0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7f,         // type
      0x03, 0x02, 0x01, 0x00,                           // function
      0x0a, 0x06, 0x01, 0x04, 0x00, 0x41, 0x07, 0x0b};  // code
  // What follows is the name section.
  ASSERT_GE(bytes->size(), expected.size());
  bytes->resize(expected.size());
  EXPECT_EQ(*bytes, expected);
}

TEST(AssembleWatTest, KeepsNames) {
  const absl::StatusOr<std::vector<uint8_t>> bytes =
      AssembleWat("(module (func $speaks_its_name))");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_TRUE(Contains(*bytes, "speaks_its_name"));
}

TEST(AssembleWatTest, KnowsTailCalls) {
  const absl::StatusOr<std::vector<uint8_t>> bytes =
      AssembleWat("(module (func $f return_call $f))");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
}

TEST(AssembleWatTest, PointsAtASyntaxError) {
  const absl::StatusOr<std::vector<uint8_t>> bytes =
      AssembleWat("(module\n  (func nonsense))");
  ASSERT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(Text(bytes.status()).find("module.wat:2:9"), std::string::npos)
      << bytes.status();
  EXPECT_NE(Text(bytes.status()).find("nonsense"), std::string::npos)
      << bytes.status();
}

constexpr absl::string_view kWrongResult =
    "(module (func (result i32) i64.const 7))";

TEST(AssembleWatTest, RefusesAnInvalidModule) {
  const absl::StatusOr<std::vector<uint8_t>> bytes = AssembleWat(kWrongResult);
  ASSERT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(Text(bytes.status()).find("type mismatch"), std::string::npos)
      << bytes.status();
}

TEST(AssembleWatTest, WritesAnInvalidModuleWhenAsked) {
  const absl::StatusOr<std::vector<uint8_t>> bytes =
      AssembleWatWithoutValidation(kWrongResult);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GT(bytes->size(), 8u);
}

}  // namespace
}  // namespace callgate
