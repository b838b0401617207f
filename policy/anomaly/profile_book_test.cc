#include "policy/anomaly/profile_book.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "policy/anomaly/learned_stream.h"
#include "policy/anomaly/profile_bytes.h"

namespace callgate::policy::anomaly {
namespace {

class MemoryKeeper final : public ProfileKeeper {
 public:
  absl::Status Keep(const ProfileId& id, const Profile& profile) override {
    if (fails) return absl::UnavailableError("the disk is full");
    const std::lock_guard<std::mutex> lock(mu);
    kept[id] = SerialiseProfile(profile);
    return absl::OkStatus();
  }
  absl::Status KeepSoon(const ProfileId& id,
                        std::shared_ptr<const Profile> profile) override {
    return Keep(id, *profile);
  }
  absl::Status Forget(const ProfileId& id) override {
    if (fails) return absl::UnavailableError("the disk is full");
    kept.erase(id);
    return absl::OkStatus();
  }
  std::mutex mu;
  std::map<ProfileId, std::string> kept;
  bool fails = false;
};

const ProfileId kId = {"acme", "sha256:aa", Shape()};
const std::vector<MadeCall> kCalls = {{"open"}, {"read"}, {"close"}};

LearningRule Rule() {
  LearningRule rule;
  rule.min_calls = 3;
  rule.min_runs = 2;
  return rule;
}

absl::Status Submit(ProfileBook& book) {
  return book.Submit(kId, Recorded(Shape(), kCalls), "s-1", At(1), Rule(), 100)
      .status();
}

TEST(ProfileBookTest, LeasesWhatTheProfileAllows) {
  MemoryKeeper keeper;
  ProfileBook book(&keeper);
  ProfileBook::Lease lease = book.Begin(kId, Rule(), 100);
  EXPECT_EQ(lease.model, nullptr);
  EXPECT_EQ(lease.record_ngrams_max, 100u);
  EXPECT_TRUE(book.List("acme").empty());  // nothing was learned yet

  ASSERT_TRUE(Submit(book).ok());
  lease = book.Begin(kId, Rule(), 100);
  EXPECT_EQ(lease.model, nullptr);
  EXPECT_EQ(lease.record_ngrams_max, 100u);

  ASSERT_TRUE(Submit(book).ok());  // stable
  lease = book.Begin(kId, Rule(), 100);
  EXPECT_NE(lease.model, nullptr);
  EXPECT_TRUE(lease.trial);
  EXPECT_EQ(lease.record_ngrams_max, 0u);
  EXPECT_EQ(book.Begin(kId, Rule(), 100).model, lease.model);
  LearningRule unasked = Rule();
  unasked.require_approval = false;
  EXPECT_FALSE(book.Begin(kId, unasked, 100).trial);

  ASSERT_TRUE(book.Edit(kId, [](Profile& p) { return p.Approve(); }).ok());
  lease = book.Begin(kId, Rule(), 100);
  EXPECT_NE(lease.model, nullptr);
  EXPECT_FALSE(lease.trial);

  // Another tenant's, and another shape's, are others.
  ProfileId other = kId;
  other.tenant = "globex";
  EXPECT_EQ(book.Begin(other, Rule(), 100).model, nullptr);
  other = kId;
  other.shape.ngram = 5;
  EXPECT_EQ(book.Begin(other, Rule(), 100).model, nullptr);
}

TEST(ProfileBookTest, ChangesNothingThatIsNotKept) {
  MemoryKeeper keeper;
  ProfileBook book(&keeper);
  ASSERT_TRUE(Submit(book).ok());
  const std::string before = keeper.kept[kId];
  keeper.fails = true;
  EXPECT_EQ(Submit(book).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(book.Edit(kId, [](Profile& p) { return p.Approve(); }).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(book.Remove(kId).code(), absl::StatusCode::kUnavailable);
  const auto profile = book.Get(kId);
  ASSERT_TRUE(profile.ok());
  EXPECT_EQ(SerialiseProfile(*profile), before);
  EXPECT_EQ(book.Edit(kId,
                      [](Profile& p) {
                        p.Approve().IgnoreError();
                        return absl::AbortedError("no");
                      })
                .code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(book.Get(kId)->state(), ProfileState::kLearning);
}

TEST(ProfileBookTest, BeginsWithWhatWasKept) {
  MemoryKeeper keeper;
  {
    ProfileBook book(&keeper);
    ASSERT_TRUE(Submit(book).ok());
  }
  ProfileBook book(&keeper);
  auto profile = ParseProfile(keeper.kept[kId]);
  ASSERT_TRUE(profile.ok());
  ASSERT_TRUE(book.Load(kId, *std::move(profile)).ok());
  EXPECT_EQ(book.List("acme"), std::vector<ProfileId>{kId});
  ASSERT_TRUE(Submit(book).ok());
  EXPECT_EQ(book.Get(kId)->runs().size(), 2u);
  ASSERT_TRUE(book.Remove(kId).ok());
  EXPECT_TRUE(keeper.kept.empty());
  EXPECT_EQ(book.Get(kId).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(book.Remove(kId).code(), absl::StatusCode::kNotFound);
}

TEST(ProfileBookTest, TakesRunsFromManyThreads) {
  MemoryKeeper keeper;
  ProfileBook book(&keeper);
  LearningRule rule = Always();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&book, rule] {
      for (int i = 0; i < 50; ++i) {
        book.Begin(kId, rule, 100);
        EXPECT_TRUE(
            book.Submit(kId, Recorded(Shape(), kCalls), "s", At(1), rule, 100)
                .ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(book.Get(kId)->runs().size(), 200u);
  EXPECT_EQ(SerialiseProfile(*book.Get(kId)), keeper.kept[kId]);
}

TEST(ShapeNameTest, ComesBack) {
  for (const char* name : {"6-4-e-3277", "2-0-x-0", "8-8-e-65535"}) {
    const auto shape = ParseShapeName(name);
    ASSERT_TRUE(shape.ok()) << name;
    EXPECT_EQ(ShapeName(*shape), name);
  }
  for (const char* name :
       {"", "6-4-e", "6-4-y-0", "9-4-e-0", "6-9-e-0", "6-4-e-65536", "06-4-e-0",
        "6-4-e-0-0", "-6-4-e-0"}) {
    EXPECT_FALSE(ParseShapeName(name).ok()) << name;
  }
}

}  // namespace
}  // namespace callgate::policy::anomaly
