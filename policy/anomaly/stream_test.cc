#include "policy/anomaly/stream.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "policy/anomaly/errno_class.h"
#include "policy/anomaly/learned_stream.h"
#include "tests/support/allocations.h"

namespace callgate::policy::anomaly {
namespace {

std::vector<MadeCall> ReadsAndWrites(int times) {
  std::vector<MadeCall> calls = {{"open"}};
  for (int i = 0; i < times; ++i) {
    calls.push_back({"read"});
    calls.push_back({"write"});
  }
  calls.push_back({"close"});
  return calls;
}

TEST(StreamTest, KnowsWhatItLearned) {
  const Profile profile = Learned(Shape(), {ReadsAndWrites(10)});
  Stream stream = Judged(profile);
  for (const MadeCall& call : ReadsAndWrites(50)) {
    const Score score = Make(call, &stream);
    EXPECT_FALSE(score.novel) << call.name;
    EXPECT_EQ(score.frame, 0u);
  }
}

// The first of its kind is found, and so is every n-gram that it is part of.
TEST(StreamTest, FindsAnotherOrder) {
  const Profile profile = Learned(Shape(), {ReadsAndWrites(10)});
  Stream stream = Judged(profile);
  Make({"open"}, &stream);
  Make({"read"}, &stream);
  const Score score = Make({"read"}, &stream);
  EXPECT_TRUE(score.novel);
  EXPECT_EQ(score.frame, 1u);
  EXPECT_EQ(score.total, 1u);
  EXPECT_EQ(score.calls, 3u);
  EXPECT_DOUBLE_EQ(score.novelty(), 1.0 / 3);
}

struct Row {
  std::string name;
  Shape shape;
  MadeCall odd;
  bool found;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

Shape With(uint32_t site_functions, bool errnos) {
  Shape shape;
  shape.site_functions = site_functions;
  shape.errnos = errnos;
  return shape;
}

class StreamLetters : public testing::TestWithParam<Row> {};

// One odd call in the middle, then six usual ones.
TEST_P(StreamLetters, SaysWhatIsUnusual) {
  const Row& row = GetParam();
  const Profile profile = Learned(row.shape, {ReadsAndWrites(20)});
  Stream stream = Judged(profile);
  std::vector<MadeCall> calls = ReadsAndWrites(4);
  calls.push_back(row.odd);
  uint64_t total = 0;
  calls.pop_back();
  calls[5] = row.odd;  // in place of a read
  for (const MadeCall& call : calls) total = Make(call, &stream).total;
  EXPECT_EQ(total > 0, row.found);
}

INSTANTIATE_TEST_SUITE_P(
    Calls, StreamLetters,
    testing::ValuesIn<Row>({
        {"same", With(1, true), {"read"}, false},
        {"import", With(1, true), {"sync"}, true},
        {"import_alone", With(0, false), {"sync"}, true},
        {"site", With(1, true), {"read", 2}, true},
        {"site_is_no_part", With(0, true), {"read", 2}, false},
        {"errno", With(1, true), {"read", 1, ErrnoClass::kDenied}, true},
        {"errno_is_no_part",
         With(1, false),
         {"read", 1, ErrnoClass::kDenied},
         false},
    }),
    [](const auto& row) { return row.param.name; });

// The judgement comes before the effect: how a call ends is seen by the next.
TEST(StreamTest, SeesAnErrnoWithTheNextCall) {
  const Profile profile = Learned(Shape(), {ReadsAndWrites(10)});
  Stream stream = Judged(profile);
  Make({"open"}, &stream);
  EXPECT_FALSE(Make({"read", 1, ErrnoClass::kFailed}, &stream).novel);
  EXPECT_TRUE(Make({"write"}, &stream).novel);
}

TEST(StreamTest, CallsThatDoNotReturnArePending) {
  Stream::Options options;
  options.record_ngrams_max = 100;
  Stream stream(options);
  const uint32_t site = stream.AddSite("env", "a", {});
  stream.Returned(ErrnoClass::kOk);  // of nothing
  stream.Calling(site);
  stream.Calling(site);
  stream.Returned(ErrnoClass::kOk);
  stream.Returned(ErrnoClass::kFailed);  // of nothing
  stream.Calling(site);
  std::set<std::string> ngrams;
  Profile profile(Shape(), 100);
  ASSERT_TRUE(profile.Add(stream.record(), "s", At(1), Always()).ok());
  for (const auto& entry : profile.ngrams()) {
    ngrams.insert(profile.Describe(entry.first));
  }
  EXPECT_EQ(ngrams, (std::set<std::string>{
                        "begin begin begin begin begin env.a:pending",
                        "begin begin begin begin env.a:pending env.a:pending",
                        "begin begin begin env.a:pending env.a:ok "
                        "env.a:pending",
                    }));
}

TEST(StreamTest, ForgetsWhatLeavesTheFrame) {
  const Profile profile = Learned(Shape(), {ReadsAndWrites(30)});
  Stream stream = Judged(profile, 8);
  std::vector<MadeCall> calls = ReadsAndWrites(30);
  calls[9] = {"sync"};
  uint32_t most = 0;
  Score score;
  for (const MadeCall& call : calls) {
    score = Make(call, &stream);
    most = std::max(most, score.frame);
  }
  EXPECT_EQ(most, 6u);  // every n-gram with the odd one
  EXPECT_EQ(score.frame, 0u);
  EXPECT_EQ(score.total, 6u);
}

TEST(StreamTest, TakesFramesAndNgramsOfEverySize) {
  for (uint32_t ngram = kNgramMin; ngram <= kNgramMax; ++ngram) {
    for (const uint32_t frame : {1u, 20u, kFrameMax}) {
      Shape shape;
      shape.ngram = ngram;
      const Profile profile = Learned(shape, {ReadsAndWrites(60)});
      Stream stream = Judged(profile, frame);
      for (const MadeCall& call : ReadsAndWrites(40)) {
        EXPECT_EQ(Make(call, &stream).total, 0u) << ngram << " " << frame;
      }
      Score score;
      for (int i = 0; i < 100; ++i) score = Make({"sync"}, &stream);
      EXPECT_EQ(score.frame, frame);
      EXPECT_EQ(score.total, 100u);
    }
  }
}

TEST(StreamTest, TellsNewCallSitesFromNewOrders) {
  const Profile profile = Learned(Shape(), {ReadsAndWrites(10)});
  Stream stream = Judged(profile);
  Make({"open"}, &stream);
  Make({"write"}, &stream);
  Score score = Make({"write"}, &stream);
  EXPECT_EQ(score.frame, 2u);
  EXPECT_EQ(score.strange, 0u);
  EXPECT_EQ(Make({"read", 9}, &stream).strange, 1u);
  EXPECT_EQ(Make({"read"}, &stream).strange, 1u);
  EXPECT_EQ(Make({"sync"}, &stream).strange, 2u);
  for (int i = 0; i < 20; ++i) score = Make({"read"}, &stream);
  EXPECT_EQ(score.strange, 0u);
}

// One odd call in a hundred: each is forgotten by the frame before the next.
TEST(StreamTest, FindsADrip) {
  const Profile profile = Learned(Shape(), {ReadsAndWrites(30)});
  Stream stream = Judged(profile);
  Make({"open"}, &stream);
  Score score;
  const auto drip = [&](int drops) {
    for (int i = 0; i < drops; ++i) {
      for (int j = 0; j < 50; ++j) {
        Make({"read"}, &stream);
        score = Make({"write"}, &stream);
      }
      Make({"sync"}, &stream);
    }
  };
  drip(3);
  EXPECT_EQ(score.recent, 12u);  // six of each of two, the third just made
  drip(30);
  EXPECT_EQ(score.frame, 0u);
  EXPECT_GE(score.recent, 9 * 6u);
  EXPECT_LE(score.recent, 11 * 6u);
  for (uint32_t i = 0; i <= kRecentCalls; ++i) {
    Make({"read"}, &stream);
    score = Make({"write"}, &stream);
  }
  EXPECT_EQ(score.recent, 0u);
  EXPECT_TRUE(score.is_usual());
}

// In the middle of a Store's life there is no beginning to be judged.
TEST(StreamTest, BeginsLate) {
  const Profile profile = Learned(Shape(), {ReadsAndWrites(30)});
  Stream::Options options;
  options.model = profile.MakeModel();
  options.begins_late = true;
  Stream stream(options);
  Score score;
  for (int i = 0; i < 5; ++i) {
    Make({"write"}, &stream);
    score = Make({"read"}, &stream);
  }
  EXPECT_TRUE(score.is_usual());
  EXPECT_TRUE(Make({"read"}, &stream).novel);
}

// An import that is rare, and then is not.
TEST(StreamTest, FindsABurstByItsShare) {
  Shape shape;
  shape.share_weight = 3277;  // a twentieth
  std::vector<MadeCall> calls;
  for (int i = 0; i < 200; ++i) {
    calls.push_back({i % 20 == 0 ? "open" : "read"});
  }
  const Profile profile = Learned(shape, {calls, calls});
  Stream stream = Judged(profile);
  for (const MadeCall& call : calls) {
    EXPECT_EQ(Make(call, &stream).share_z, 0) << call.name;
  }
  double z = 0;
  for (int i = 0; i < 20; ++i) z = Make({"open"}, &stream).share_z;
  EXPECT_GT(z, 6);
  // After a long rest it is rare again.
  for (int i = 0; i < 1000; ++i) Make({"read"}, &stream);
  EXPECT_EQ(Make({"open"}, &stream).share_z, 0);
}

TEST(StreamTest, StepsWithoutAllocating) {
  Shape shape;
  shape.share_weight = 3277;
  const Profile profile = Learned(shape, {ReadsAndWrites(60)});
  Stream::Options options;
  options.shape = shape;
  options.model = profile.MakeModel();
  options.record_ngrams_max = 1000;
  Stream stream(options);
  const uint32_t sites[] = {stream.AddSite("env", "read", {}),
                            stream.AddSite("env", "write", {}),
                            stream.AddSite("env", "sync", {})};
  // Every letter once.
  for (const uint32_t site : sites) {
    stream.Calling(site);
    stream.Returned(ErrnoClass::kOk);
  }
  const uint64_t before = AllocationCount();
  for (int i = 0; i < 10'000; ++i) {
    stream.Calling(sites[i % 3 == 0 ? i % 2 : 2]);
    stream.Returned(ErrnoClass::kOk);
  }
  EXPECT_EQ(AllocationCount(), before);
}

// More sites than a record has room for: nothing is lost but the learning.
TEST(StreamTest, BoundsWhatItRecords) {
  Shape shape;
  shape.site_functions = 1;
  Stream::Options options;
  options.shape = shape;
  options.record_ngrams_max = 50;
  Stream stream(options);
  for (uint32_t i = 0; i < 60; ++i) Make({"a", i}, &stream);
  EXPECT_TRUE(stream.record().overflowed);
  EXPECT_EQ(stream.record().ngrams.size(), 50u);

  Stream::Options wide = options;
  wide.record_ngrams_max = 100'000;
  Stream many(wide);
  for (uint32_t i = 0; i < kSitesMax + 10; ++i) Make({"a", i}, &many);
  EXPECT_TRUE(many.record().overflowed);
  EXPECT_LE(many.record().alphabet.letters().size(), shape.letters_end());
  EXPECT_EQ(many.record().alphabet.sites().size(), kSitesMax);
}

TEST(NgramSetTest, HoldsAsManyAsItSays) {
  NgramSet set(3);
  EXPECT_FALSE(set.Contains(0));
  for (const uint64_t key : {5u, 6u, 7u}) {
    EXPECT_EQ(set.Add(key), NgramSet::Added::kNew);
    EXPECT_EQ(set.Add(key), NgramSet::Added::kKnown);
  }
  EXPECT_EQ(set.Add(8), NgramSet::Added::kFull);
  EXPECT_FALSE(set.Contains(8));
  EXPECT_TRUE(set.Contains(5) && set.Contains(6) && set.Contains(7));
  EXPECT_EQ(set.size(), 3u);
  // A default profile keeps to 256 KiB.
  EXPECT_LE(NgramSet(20'000).bytes(), 256u << 10);
}

TEST(ErrnoClassTest, HasAClassForEveryErrno) {
  EXPECT_EQ(ClassOfErrno(0), ErrnoClass::kOk);
  EXPECT_EQ(ClassOfErrno(6), ErrnoClass::kAgain);
  EXPECT_EQ(ClassOfErrno(44), ErrnoClass::kAbsent);
  EXPECT_EQ(ClassOfErrno(76), ErrnoClass::kDenied);
  EXPECT_EQ(ClassOfErrno(8), ErrnoClass::kInvalid);
  EXPECT_EQ(ClassOfErrno(29), ErrnoClass::kFailed);
  EXPECT_EQ(ClassOfErrno(123456), ErrnoClass::kFailed);
  std::set<absl::string_view> names;
  for (size_t c = 0; c < kErrnoClasses; ++c) {
    names.insert(ErrnoClassName(static_cast<ErrnoClass>(c)));
  }
  EXPECT_EQ(names.size(), kErrnoClasses);
}

}  // namespace
}  // namespace callgate::policy::anomaly
