#include "policy/anomaly/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "policy/anomaly/learned_stream.h"
#include "policy/anomaly/profile_bytes.h"

namespace callgate::policy::anomaly {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<MadeCall> kReads = {{"open"}, {"read"}, {"read"}, {"close"}};
const std::vector<MadeCall> kWrites = {{"open"}, {"write"}, {"close"}};
const std::vector<MadeCall> kSends = {{"open"}, {"read"}, {"send", 9}};

uint64_t NoveltyOf(const Profile& profile, const std::vector<MadeCall>& calls) {
  Stream stream = Judged(profile);
  uint64_t total = 0;
  for (const MadeCall& call : calls) total = Make(call, &stream).total;
  return total;
}

TEST(ProfileTest, RemovesWhatOneRunTaught) {
  Profile profile = Learned(Shape(), {kReads, kSends, kReads});
  ASSERT_EQ(profile.runs().size(), 3u);
  EXPECT_EQ(profile.runs()[1].added, 1u);  // the rest had been seen
  EXPECT_EQ(NoveltyOf(profile, kSends), 0u);
  ASSERT_TRUE(profile.RemoveRun(2).ok());
  EXPECT_EQ(NoveltyOf(profile, kSends), 1u);
  EXPECT_EQ(NoveltyOf(profile, kReads), 0u);
  // Nothing is left of it, not even a name.
  EXPECT_EQ(profile.alphabet().FindImport("env", "send"), kNone);
  EXPECT_EQ(profile.RemoveRun(2).code(), absl::StatusCode::kNotFound);
  // What two runs taught goes with the second.
  ASSERT_TRUE(profile.RemoveRun(1).ok());
  EXPECT_EQ(NoveltyOf(profile, kReads), 0u);
  ASSERT_TRUE(profile.RemoveRun(3).ok());
  EXPECT_EQ(profile.ngram_count(), 0u);
  // Numbers are not used again.
  EXPECT_EQ(*profile.Add(Recorded(Shape(), kReads), "s", At(1), Always()), 4u);
}

// Beyond the witnesses that an n-gram remembers it goes too early, never late.
TEST(ProfileTest, ForgetsRatherTooMuch) {
  const std::vector<std::vector<MadeCall>> runs(kWitnessesMax + 1, kReads);
  Profile profile = Learned(Shape(), runs);
  for (uint32_t run = 1; run <= kWitnessesMax; ++run) {
    EXPECT_EQ(NoveltyOf(profile, kReads), 0u);
    ASSERT_TRUE(profile.RemoveRun(run).ok());
  }
  EXPECT_EQ(profile.ngram_count(), 0u);
}

TEST(ProfileTest, SharesGoWithTheRun) {
  Shape shape;
  shape.share_weight = 3277;
  const std::vector<MadeCall> burst(50, MadeCall{"open"});
  Profile profile = Learned(shape, {kReads, burst});
  const auto max_share = [&] {
    const auto model = profile.MakeModel();
    return model->usual()[model->alphabet().FindImport("env", "open")].max;
  };
  EXPECT_GT(max_share(), 0.9);
  ASSERT_TRUE(profile.RemoveRun(2).ok());
  EXPECT_LT(max_share(), 0.1);
}

TEST(ProfileTest, RefusesRunsThatItCannotLearnFrom) {
  Profile profile(Shape(), 5);
  const auto code = [&](const RunRecord& record) {
    return profile.Add(record, "s", At(1), Always()).status().code();
  };
  EXPECT_EQ(code(Recorded(Shape(), {})), absl::StatusCode::kInvalidArgument);
  Shape other;
  other.ngram = 5;
  EXPECT_EQ(code(Recorded(other, kReads)), absl::StatusCode::kInvalidArgument);
  RunRecord overflowed = Recorded(Shape(), kReads);
  overflowed.overflowed = true;
  EXPECT_EQ(code(overflowed), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Recorded(Shape(), kReads)), absl::StatusCode::kOk);
  // One n-gram more fits, two do not, and none of the two is learned.
  EXPECT_EQ(code(Recorded(Shape(), {{"x"}, {"y"}})),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(profile.ngram_count(), 4u);
  EXPECT_EQ(profile.runs().size(), 1u);
  EXPECT_EQ(code(Recorded(Shape(), {{"x"}})), absl::StatusCode::kOk);
  EXPECT_EQ(code(Recorded(Shape(), {{"y"}})),
            absl::StatusCode::kResourceExhausted);
}

TEST(ProfileTest, HasAtMostSoManyRuns) {
  Profile profile(Shape(), 100);
  const RunRecord record = Recorded(Shape(), kReads);
  for (uint32_t i = 0; i < kRunsMax; ++i) {
    ASSERT_TRUE(profile.Add(record, "s", At(1), Always()).ok());
  }
  EXPECT_EQ(profile.Add(record, "s", At(1), Always()).status().code(),
            absl::StatusCode::kResourceExhausted);
}

// --- Life --------------------------------------------------------------------

LearningRule Rule() {
  LearningRule rule;
  rule.min_calls = 8;
  rule.min_runs = 3;
  rule.stable_novelty = 0;
  rule.max_time = absl::Seconds(100);
  return rule;
}

TEST(ProfileLifeTest, IsStableWhenNothingNewComes) {
  Profile profile(Shape(), 100);
  const auto add = [&](const std::vector<MadeCall>& calls) {
    const auto added =
        profile.Add(Recorded(Shape(), calls), "s", At(10), Rule());
    EXPECT_TRUE(added.ok()) << added.status();
  };
  add(kReads);
  add(kReads);
  EXPECT_EQ(profile.state(), ProfileState::kLearning);
  add(kWrites);  // the third run, and new
  EXPECT_EQ(profile.state(), ProfileState::kLearning);
  add(kReads);
  EXPECT_EQ(profile.state(), ProfileState::kLearning);  // 7 calls since
  add(kReads);
  EXPECT_EQ(profile.state(), ProfileState::kStable);
  EXPECT_EQ(profile.Add(Recorded(Shape(), kSends), "s", At(10), Rule())
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(NoveltyOf(profile, kSends), 1u);
}

TEST(ProfileLifeTest, LearnsOnUntilApprovedIfTheRuleSaysSo) {
  LearningRule rule = Rule();
  rule.freeze_on_stable = false;
  Profile profile(Shape(), 100);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(profile.Add(Recorded(Shape(), kReads), "s", At(10), rule).ok());
  }
  EXPECT_EQ(profile.state(), ProfileState::kStable);
  ASSERT_TRUE(profile.Add(Recorded(Shape(), kSends), "s", At(10), rule).ok());
  EXPECT_EQ(NoveltyOf(profile, kSends), 0u);
  ASSERT_TRUE(profile.Approve().ok());
  EXPECT_FALSE(profile.Learns(rule));
}

TEST(ProfileLifeTest, RunsOutOfTime) {
  Profile profile(Shape(), 100);
  ASSERT_TRUE(
      profile.Add(Recorded(Shape(), kReads), "s", At(1000), Rule()).ok());
  ASSERT_TRUE(
      profile.Add(Recorded(Shape(), kWrites), "s", At(1100), Rule()).ok());
  EXPECT_EQ(profile.state(), ProfileState::kLearning);
  EXPECT_EQ(profile.Add(Recorded(Shape(), kReads), "s", At(1101), Rule())
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(profile.state(), ProfileState::kExpired);
  EXPECT_TRUE(profile.Approve().ok());
}

TEST(ProfileLifeTest, OnlyLearnsWhereItMay) {
  LearningRule off;
  off.mode = LearningRule::Mode::kOff;
  Profile profile(Shape(), 100);
  EXPECT_EQ(
      profile.Add(Recorded(Shape(), kReads), "s", At(1), off).status().code(),
      absl::StatusCode::kFailedPrecondition);
  // On: for ever, whatever the figures say.
  LearningRule on = Rule();
  on.mode = LearningRule::Mode::kOn;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(
        profile.Add(Recorded(Shape(), kReads), "s", At(i * 1000 + 1), on).ok());
  }
  EXPECT_EQ(profile.state(), ProfileState::kLearning);
}

TEST(ProfileLifeTest, IsApprovedThenFrozen) {
  Profile profile(Shape(), 100);
  EXPECT_EQ(profile.Approve().code(), absl::StatusCode::kFailedPrecondition);
  profile = Learned(Shape(), {kReads});
  EXPECT_EQ(profile.Freeze().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(profile.Approve().ok());
  EXPECT_EQ(profile.state(), ProfileState::kApproved);
  // Whoever adds to it has to ask again.
  ASSERT_TRUE(profile.Merge(Learned(Shape(), {kWrites})).ok());
  EXPECT_EQ(profile.state(), ProfileState::kStable);
  ASSERT_TRUE(profile.Approve().ok());
  ASSERT_TRUE(profile.Freeze().ok());
  EXPECT_EQ(profile.Approve().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(profile.Merge(Learned(Shape(), {kSends})).code(),
            absl::StatusCode::kFailedPrecondition);
  // Taking out is always possible.
  EXPECT_TRUE(profile.RemoveRun(2).ok());
  EXPECT_EQ(profile.state(), ProfileState::kFrozen);
}

// --- Two profiles ------------------------------------------------------------

TEST(ProfilePairTest, SaysWhatDiffers) {
  const Profile left = Learned(Shape(), {kReads, kSends});
  const Profile right = Learned(Shape(), {kWrites, kReads});
  const auto diff = Profile::Diff(left, right);
  ASSERT_TRUE(diff.ok());
  EXPECT_THAT(diff->only_left,
              ElementsAre("begin begin begin env.open@1<100:ok "
                          "env.read@1<100:ok env.send@9<100:pending"));
  EXPECT_EQ(diff->only_right_count, 2u);
  EXPECT_EQ(diff->common, 4u);
  Shape other;
  other.ngram = 3;
  EXPECT_EQ(Profile::Diff(left, Learned(other, {kReads})).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ProfilePairTest, MergesRunsToo) {
  Profile profile = Learned(Shape(), {kReads, kWrites});
  ASSERT_TRUE(profile.Merge(Learned(Shape(), {kWrites, kSends})).ok());
  EXPECT_EQ(profile.runs().size(), 4u);
  EXPECT_EQ(NoveltyOf(profile, kSends), 0u);
  EXPECT_EQ(NoveltyOf(profile, kReads), 0u);
  ASSERT_TRUE(profile.RemoveRun(2).ok());
  EXPECT_EQ(NoveltyOf(profile, kWrites), 0u);  // run 3 has it, too
  ASSERT_TRUE(profile.RemoveRun(3).ok());
  EXPECT_EQ(NoveltyOf(profile, kWrites), 2u);
  // All or nothing.
  Profile small(Shape(), 4);
  ASSERT_TRUE(small.Add(Recorded(Shape(), kReads), "s", At(1), Always()).ok());
  EXPECT_EQ(small.Merge(Learned(Shape(), {kWrites})).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(small.ngram_count(), 4u);
}

// --- Bytes -------------------------------------------------------------------

Shape Shares() {
  Shape shape;
  shape.share_weight = 3277;
  return shape;
}

TEST(ProfileBytesTest, ComesBackAsItWas) {
  Profile profile = Learned(Shares(), {kReads, kSends, kWrites});
  ASSERT_TRUE(profile.RemoveRun(2).ok());
  ASSERT_TRUE(profile.Approve().ok());
  const std::string bytes = SerialiseProfile(profile);
  const auto back = ParseProfile(bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(SerialiseProfile(*back), bytes);
  EXPECT_EQ(back->state(), ProfileState::kApproved);
  EXPECT_EQ(back->ngram_count(), profile.ngram_count());
  EXPECT_EQ(back->runs().size(), 2u);
  EXPECT_EQ(back->calls(), profile.calls());
  EXPECT_EQ(NoveltyOf(*back, kSends), 1u);
  EXPECT_EQ(NoveltyOf(*back, kWrites), 0u);
}

// The order in which letters were met leaves no trace.
TEST(ProfileBytesTest, AreTheSameForTheSame) {
  const std::vector<MadeCall> one = {{"a"}, {"b"}, {"a"}, {"b"}};
  RunRecord forth = Recorded(Shape(), one);
  Stream::Options options;
  options.record_ngrams_max = 1000;
  Stream other(options);
  const uint32_t functions[] = {1, 100};
  other.AddSite("env", "z", functions);
  other.AddSite("env", "b", functions);
  for (const MadeCall& call : one) Make(call, &other);
  Profile a(Shape(), 100);
  Profile b(Shape(), 100);
  ASSERT_TRUE(a.Add(forth, "s", At(1), Always()).ok());
  ASSERT_TRUE(b.Add(other.record(), "s", At(1), Always()).ok());
  EXPECT_EQ(SerialiseProfile(a), SerialiseProfile(b));
}

TEST(ProfileBytesTest, RefusesEveryOtherByte) {
  const std::string bytes = SerialiseProfile(Learned(Shares(), {kReads}));
  ASSERT_TRUE(ParseProfile(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ParseProfile(bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_THAT(ParseProfile(bytes + "x").status().message(),
              HasSubstr("something stands behind it"));
  std::string newer = bytes;
  newer[4] = 2;
  EXPECT_THAT(std::string(ParseProfile(newer).status().message()),
              HasSubstr("version 2"));
  EXPECT_FALSE(ParseProfile(std::string(kProfileBytesMax + 1, 'c')).ok());
}

}  // namespace
}  // namespace callgate::policy::anomaly
