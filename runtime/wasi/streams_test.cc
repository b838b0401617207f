#include "runtime/wasi/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/wasi/unique_fd.h"

namespace callgate {
namespace wasi {
namespace {

std::vector<uint8_t> BytesOf(const std::string& text) {
  return std::vector<uint8_t>(text.begin(), text.end());
}

TEST(InputTest, GivesItsBytesAndThenTheEnd) {
  Input input("abcde");
  EXPECT_FALSE(input.may_block());
  EXPECT_TRUE(input.Ready());
  EXPECT_EQ(input.BytesReady(), 5u);
  EXPECT_FALSE(input.AtEnd());
  std::vector<uint8_t> out(3);
  EXPECT_EQ(*input.Read(absl::MakeSpan(out)), 3u);
  EXPECT_EQ(out, BytesOf("abc"));
  EXPECT_EQ(*input.Read(absl::MakeSpan(out)), 2u);
  EXPECT_TRUE(input.AtEnd());
  EXPECT_EQ(*input.Read(absl::MakeSpan(out)), 0u);
}

TEST(InputTest, FollowsAPipe) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  Input input(reader.get());
  EXPECT_TRUE(input.may_block());
  EXPECT_FALSE(input.Ready());
  ASSERT_EQ(write(writer.get(), "xyz", 3), 3);
  EXPECT_TRUE(input.Ready());
  EXPECT_EQ(input.BytesReady(), 3u);
  std::vector<uint8_t> out(8);
  EXPECT_EQ(*input.Read(absl::MakeSpan(out)), 3u);
  EXPECT_FALSE(input.AtEnd());
  writer = UniqueFd();
}

TEST(InputTest, SeesThatTheWriterIsGone) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  close(ends[1]);
  Input input(reader.get());
  EXPECT_TRUE(input.Ready());
  EXPECT_TRUE(input.AtEnd());
  std::vector<uint8_t> out(8);
  EXPECT_EQ(*input.Read(absl::MakeSpan(out)), 0u);
}

struct WriteRow {
  std::string name;
  std::vector<std::string> writes;
  std::string kept;
  uint64_t refused;
  // Of the last write.
  Errno number;
  size_t taken;
};

class OutputCap : public testing::TestWithParam<WriteRow> {};

TEST_P(OutputCap, KeepsWhatFitsAndCountsTheRest) {
  Output output(nullptr, 8);
  OutcomeOr<size_t> last = size_t{0};
  for (const std::string& bytes : GetParam().writes) {
    last = output.Write(BytesOf(bytes));
  }
  EXPECT_EQ(last.ok() ? Errno::kSuccess : last.failure().number(),
            GetParam().number);
  if (last.ok()) {
    EXPECT_EQ(*last, GetParam().taken);
  }
  EXPECT_EQ(output.bytes_refused(), GetParam().refused);
  EXPECT_EQ(output.bytes_written(), GetParam().kept.size());
  EXPECT_EQ(output.Take(), GetParam().kept);
  // Taking makes room again.
  EXPECT_EQ(*output.Write(BytesOf("again")), 5u);
  EXPECT_EQ(output.Take(), "again");
}

INSTANTIATE_TEST_SUITE_P(
    Writes, OutputCap,
    testing::ValuesIn(std::vector<WriteRow>({
        {"under", {"abc", "def"}, "abcdef", 0, Errno::kSuccess, 3},
        {"at", {"abcdefgh"}, "abcdefgh", 0, Errno::kSuccess, 8},
        {"partly", {"abcdef", "ghijk"}, "abcdefgh", 3, Errno::kSuccess, 2},
        {"past", {"abcdefgh", "i"}, "abcdefgh", 1, Errno::kNoSpc, 0},
        {"far_past", {"abcdefghij", "kl"}, "abcdefgh", 4, Errno::kNoSpc, 0},
        {"empty_when_full",
         {"abcdefgh", ""},
         "abcdefgh",
         0,
         Errno::kSuccess,
         0},
    })),
    [](const auto& row) { return row.param.name; });

TEST(OutputTest, HandsRawBytesToItsSink) {
  std::string seen;
  Output output(
      [&](absl::Span<const uint8_t> bytes) {
        seen.append(bytes.begin(), bytes.end());
        return true;
      },
      8);
  const std::string raw("\x1b[2J\0\xff", 6);
  EXPECT_EQ(*output.Write(BytesOf(raw)), 6u);
  EXPECT_EQ(*output.Write(BytesOf("1234")), 2u);
  EXPECT_EQ(seen, raw + "12");
  EXPECT_EQ(output.Take(), "");
}

TEST(OutputTest, SaysThatTheSinkIsGone) {
  Output output([](absl::Span<const uint8_t>) { return false; }, 8);
  EXPECT_EQ(output.Write(BytesOf("x")).failure().number(), Errno::kPipe);
  EXPECT_EQ(output.bytes_written(), 0u);
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
