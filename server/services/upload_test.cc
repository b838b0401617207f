#include "server/services/upload.h"

#include <string>

#include "gtest/gtest.h"

namespace callgate {
namespace {

TEST(UploadBufferTest, TakesExactlyWhatWasAnnounced) {
  UploadBuffer buffer;
  ASSERT_TRUE(buffer.Begin(5, 5).ok());
  EXPECT_TRUE(buffer.Add("abc").ok());
  EXPECT_EQ(ReasonOf(buffer.End()), reason::kSizeMismatch);
  EXPECT_EQ(ReasonOf(buffer.Add("def")), reason::kSizeMismatch);
  EXPECT_TRUE(buffer.Add("de").ok());
  EXPECT_TRUE(buffer.End().ok());
  EXPECT_EQ(buffer.Take(), "abcde");
}

TEST(UploadBufferTest, RefusesASizeOverTheLimitBeforeAnyByte) {
  UploadBuffer buffer;
  const absl::Status status = buffer.Begin(6, 5);
  EXPECT_EQ(ReasonOf(status), reason::kModuleOverLimit);
  EXPECT_EQ(ReasonMetadata(status, "limit"), "bytes");
  EXPECT_EQ(ReasonMetadata(status, "value"), "6");
  EXPECT_EQ(ReasonMetadata(status, "max"), "5");
  EXPECT_FALSE(buffer.Begin(-1, 5).ok());
}

TEST(UploadBufferTest, RefusesChunksOverTheBound) {
  UploadBuffer buffer;
  ASSERT_TRUE(buffer.Begin(1 << 20, 1 << 20).ok());
  EXPECT_TRUE(buffer.Add(std::string(kUploadChunkBytesMax, 'x')).ok());
  EXPECT_EQ(ReasonOf(buffer.Add(std::string(kUploadChunkBytesMax + 1, 'x'))),
            reason::kBadChunk);
  EXPECT_EQ(ReasonOf(buffer.Add("")), reason::kBadChunk);
}

TEST(UploadBufferTest, AnEmptyModuleIsForAdmissionToRefuse) {
  UploadBuffer buffer;
  EXPECT_TRUE(buffer.Begin(0, 5).ok());
  EXPECT_TRUE(buffer.End().ok());
}

}  // namespace
}  // namespace callgate
