#include "server/services/resume_token.h"

#include <string>

#include "gtest/gtest.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

TEST(ResumeTokenTest, GoesThereAndBack) {
  const ResumeTokens tokens(7);
  v1::WatchEventsRequest filter;
  filter.set_store("s");
  const std::string token = tokens.Make({7, 41}, filter);
  // What else the request says is no part of the filter.
  filter.set_stop_at_end(true);
  filter.set_resume_token(token);
  const absl::StatusOr<events::Position> position = tokens.Read(token, filter);
  ASSERT_TRUE(position.ok()) << position.status();
  EXPECT_EQ(position->epoch, 7u);
  EXPECT_EQ(position->seq, 41u);
}

TEST(ResumeTokenTest, IsRefusedForAnotherFilter) {
  const ResumeTokens tokens(7);
  v1::WatchEventsRequest filter;
  const std::string token = tokens.Make({7, 41}, filter);
  filter.set_min_severity(v1::EVENT_SEVERITY_ERROR);
  EXPECT_EQ(ReasonOf(tokens.Read(token, filter).status()),
            reason::kBadResumeToken);
}

TEST(ResumeTokenTest, IsRefusedWhenAnyBitIsChanged) {
  const ResumeTokens tokens(7);
  const v1::WatchEventsRequest filter;
  const std::string token = tokens.Make({7, 41}, filter);
  for (size_t i = 8; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_FALSE(tokens.Read(changed, filter).ok()) << i;
  }
  EXPECT_FALSE(tokens.Read("", filter).ok());
  EXPECT_FALSE(tokens.Read(token + "x", filter).ok());
}

TEST(ResumeTokenTest, OneOfAnotherRunKeepsItsEpoch) {
  const v1::WatchEventsRequest filter;
  const std::string old = ResumeTokens(6).Make({6, 41}, filter);
  const absl::StatusOr<events::Position> position =
      ResumeTokens(7).Read(old, filter);
  ASSERT_TRUE(position.ok());
  EXPECT_EQ(position->epoch, 6u);
}

}  // namespace
}  // namespace callgate
