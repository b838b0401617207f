#include "runtime/native/worker/protocol.h"

#include <string>

#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/native/abi.h"

namespace callgate::native {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kAnswerMax = 100;

std::string Frame(FrameKind kind, absl::string_view bytes) {
  return EncodeFrameHead(kind, bytes.size()) + std::string(bytes);
}
const std::string& Locked() {
  static const auto* const frame =
      new std::string(Frame(FrameKind::kLocked, ""));
  return *frame;
}

Order SomeOrder() {
  Order order;
  order.request.level = Level::kOptimised;
  order.request.cpu = CpuLevel::kX86_64_v3;
  order.request.fuel = false;
  order.request.features.simd = false;
  order.request.features.threads = true;
  order.module_bytes = 12345;
  order.memory_bytes = uint64_t{3} << 40;
  order.cpu_seconds = 61;
  order.answer_bytes_max = kAnswerMax;
  return order;
}

TEST(ProtocolTest, CarriesAnOrder) {
  const absl::StatusOr<Order> order = DecodeRequest(EncodeRequest(SomeOrder()));
  ASSERT_TRUE(order.ok()) << order.status();
  EXPECT_EQ(order->request.level, Level::kOptimised);
  EXPECT_EQ(order->request.cpu, CpuLevel::kX86_64_v3);
  EXPECT_FALSE(order->request.fuel);
  EXPECT_TRUE(order->request.canonical_nans);
  EXPECT_FALSE(order->request.features.simd);
  EXPECT_TRUE(order->request.features.bulk_memory);
  EXPECT_TRUE(order->request.features.threads);
  EXPECT_FALSE(order->request.features.memory64);
  EXPECT_EQ(order->module_bytes, 12345u);
  EXPECT_EQ(order->memory_bytes, uint64_t{3} << 40);
  EXPECT_EQ(order->cpu_seconds, 61u);
  EXPECT_EQ(order->answer_bytes_max, kAnswerMax);
}

TEST(ProtocolTest, CarriesEachFeatureAlone) {
  // Features is nothing but its bools, which protocol.cc asserts.
  for (size_t i = 0; i < sizeof(admission::Features); ++i) {
    Order order;
    bool* const all = reinterpret_cast<bool*>(&order.request.features);
    for (size_t j = 0; j < sizeof(admission::Features); ++j) all[j] = i == j;
    const absl::StatusOr<Order> decoded = DecodeRequest(EncodeRequest(order));
    ASSERT_TRUE(decoded.ok());
    const bool* const read =
        reinterpret_cast<const bool*>(&decoded->request.features);
    for (size_t j = 0; j < sizeof(admission::Features); ++j) {
      EXPECT_EQ(read[j], i == j) << i << " " << j;
    }
  }
}

struct BrokenRequest {
  std::string name;
  size_t at;      // a byte of the request
  uint8_t value;  // what it becomes
  std::string want;
};
class BrokenRequests : public testing::TestWithParam<BrokenRequest> {};

TEST_P(BrokenRequests, AreRefused) {
  std::string bytes = EncodeRequest(SomeOrder());
  bytes[GetParam().at] = static_cast<char>(GetParam().value);
  const absl::StatusOr<Order> order = DecodeRequest(bytes);
  EXPECT_EQ(order.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(order.status().message()),
              HasSubstr(GetParam().want));
}

INSTANTIATE_TEST_SUITE_P(Bytes, BrokenRequests,
                         testing::ValuesIn<BrokenRequest>({
                             {"magic", 0, 0, "no frame of this protocol"},
                             {"version", 4, 0xff, "version"},
                             {"kind", 8, 2, "no order"},
                             {"kind_unknown", 8, 77, "unknown kind"},
                             {"length", 12, 41, "no order"},
                             {"options", 20, 16, "unknown options"},
                             {"features", 25, 0x40, "unknown options"},
                             {"module_over_limit", 31, 0x10, "over the limit"},
                             {"answer_over_limit", 59, 0x7f, "over the limit"},
                             {"module_head", 60, 0,
                              "no frame of this protocol"},
                             {"module_kind", 68, 1, "no module"},
                             {"module_length", 72, 1, "no module"},
                         }),
                         [](const auto& row) { return row.param.name; });

TEST(ProtocolTest, BoundsTheModule) {
  Order order;
  order.module_bytes = kModuleBytesMax;
  EXPECT_TRUE(DecodeRequest(EncodeRequest(order)).ok());
  ++order.module_bytes;
  EXPECT_FALSE(DecodeRequest(EncodeRequest(order)).ok());
}

TEST(ProtocolTest, PrintsTextsSafely) {
  EXPECT_EQ(PrintableText("import \"a\\b\""), "import \"a\\b\"");
  EXPECT_EQ(PrintableText("\x1b[2J\n\xc3\xa9"), "\\x1b[2J\\x0a\\xc3\\xa9");
  EXPECT_EQ(PrintableText(std::string(5000, 'x')).size(), kTextBytesMax);
  // No half of an escape at the limit.
  EXPECT_EQ(PrintableText(std::string(998, 'x') + "\n").size(), 998u);
}

struct AnswerRow {
  std::string name, bytes;
  // What is wrong; empty when nothing is.
  std::string want;
  bool complete = false;
};
class Answers : public testing::TestWithParam<AnswerRow> {};

TEST_P(Answers, AreJudgedAlikeInPiecesOfAnySize) {
  const std::string& bytes = GetParam().bytes;
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{1 << 20}}) {
    AnswerReader reader(kAnswerMax);
    absl::Status status;
    for (size_t at = 0; status.ok() && at < bytes.size(); at += piece) {
      status = reader.Feed(absl::string_view(bytes).substr(at, piece));
    }
    EXPECT_EQ(status.ok(), GetParam().want.empty()) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().want));
    EXPECT_EQ(reader.complete() && status.ok(), GetParam().complete);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rows, Answers,
    testing::ValuesIn<AnswerRow>({
        {"nothing", "", "", false},
        {"locked", Locked(), "", false},
        {"compiled", Locked() + Frame(FrameKind::kCompiled, "code"), "", true},
        {"compiled_to_nothing", Locked() + Frame(FrameKind::kCompiled, ""), "",
         true},
        {"refused", Locked() + Frame(FrameKind::kRefused, "why"), "", true},
        {"not_locked", Frame(FrameKind::kNotLocked, "why"), "", true},
        {"at_the_limit",
         Locked() + Frame(FrameKind::kCompiled, std::string(100, 'c')), "",
         true},
        {"over_the_limit",
         Locked() + Frame(FrameKind::kCompiled, std::string(101, 'c')),
         "it claims 101 bytes, over the limit of 100", false},
        {"text_at_the_limit",
         Locked() + Frame(FrameKind::kRefused, std::string(1000, 'c')), "",
         true},
        {"text_over_the_limit",
         Locked() + Frame(FrameKind::kRefused, std::string(1001, 'c')),
         "over the limit of 1000", false},
        {"huge", Locked() + EncodeFrameHead(FrameKind::kCompiled, ~uint64_t{0}),
         "it claims 18446744073709551615 bytes", false},
        {"short", Locked() + Frame(FrameKind::kCompiled, "code").substr(0, 23),
         "", false},
        {"garbage", "this is no frame at all", "no frame of this protocol",
         false},
        {"unlocked", Frame(FrameKind::kCompiled, "code"), "out of turn", false},
        {"refused_unlocked", Frame(FrameKind::kRefused, "why"), "out of turn",
         false},
        {"locked_twice", Locked() + Locked(), "out of turn", false},
        {"not_locked_after_all", Locked() + Frame(FrameKind::kNotLocked, "why"),
         "out of turn", false},
        {"locked_with_bytes", Frame(FrameKind::kLocked, "x"),
         "over the limit of 0", false},
        {"an_order", Locked() + Frame(FrameKind::kOrder, "x"), "out of turn",
         false},
        {"a_byte_too_many",
         Locked() + Frame(FrameKind::kCompiled, "code") + "x",
         "bytes after its end", false},
    }),
    [](const auto& row) { return row.param.name; });

TEST(AnswerReaderTest, GivesTheAnswer) {
  AnswerReader reader(kAnswerMax);
  EXPECT_FALSE(reader.locked());
  ASSERT_TRUE(reader.Feed(Locked()).ok());
  EXPECT_TRUE(reader.locked());
  ASSERT_TRUE(
      reader.Feed(Frame(FrameKind::kCompiled, absl::string_view("\0\1", 2)))
          .ok());
  EXPECT_EQ(reader.kind(), FrameKind::kCompiled);
  EXPECT_EQ(reader.Take(), std::string("\0\1", 2));
}

TEST(AnswerReaderTest, AllocatesNothingForAClaim) {
  AnswerReader reader(kAnswerBytesCeiling);
  ASSERT_TRUE(reader.Feed(Locked()).ok());
  ASSERT_TRUE(
      reader.Feed(EncodeFrameHead(FrameKind::kCompiled, kAnswerBytesCeiling))
          .ok());
  ASSERT_TRUE(reader.Feed("x").ok());
  EXPECT_LT(reader.capacity(), 1u << 10);
}

TEST(AnswerReaderTest, HasACeiling) {
  AnswerReader reader(~uint64_t{0});
  ASSERT_TRUE(reader.Feed(Locked()).ok());
  EXPECT_FALSE(
      reader
          .Feed(EncodeFrameHead(FrameKind::kCompiled, kAnswerBytesCeiling + 1))
          .ok());
}

}  // namespace
}  // namespace callgate::native
