#include "policy/hook/suppression.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace callgate::policy {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();

absl::Time At(int64_t seconds) { return kStart + absl::Seconds(seconds); }

class SuppressorTest : public testing::Test {
 protected:
  bool Tells(absl::string_view rule, int64_t at, uint32_t site = 1) {
    DecisionRecord record;
    record.store = &store_;
    record.policy = policy_;
    record.policy_version = "v1";
    record.rule = rule;
    record.caller_func_index = site;
    record.verdict = Verdict::kDeny;
    record.would_be_verdict = Verdict::kDeny;
    record.severity = severity_;
    record.import_module = "net";
    record.import_name = "send";
    record.suppression = spec_.period > absl::ZeroDuration() ? &spec_ : nullptr;
    return suppressor_->Tells(record, At(at));
  }

  std::unique_ptr<Suppressor> suppressor_ = std::make_unique<Suppressor>();
  SuppressionSpec spec_ = {2, absl::Seconds(60), {SuppressionKey::kRule}};
  StoreFacts store_ = {"s-1", "acme", "sha256:0", "guest"};
  std::string policy_ = "p";
  Severity severity_ = Severity::kWarning;
};

TEST_F(SuppressorTest, TellsABurstAndCountsTheRest) {
  EXPECT_TRUE(Tells("r", 0));
  EXPECT_TRUE(Tells("r", 1));
  EXPECT_FALSE(Tells("r", 2));
  severity_ = Severity::kError;
  EXPECT_FALSE(Tells("r", 3));
  severity_ = Severity::kWarning;
  EXPECT_FALSE(Tells("r", 59));
  EXPECT_EQ(suppressor_->held_back(), 3u);
  EXPECT_TRUE(suppressor_->TakeDue(At(59)).empty());
  const std::vector<HeldBack> due = suppressor_->TakeDue(At(60));
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].count, 3u);
  EXPECT_EQ(due[0].since, At(0));
  EXPECT_EQ(due[0].until, At(59));
  EXPECT_EQ(due[0].policy, "p");
  EXPECT_EQ(due[0].rule, "r");
  EXPECT_EQ(due[0].import_name, "send");
  EXPECT_EQ(due[0].verdict, Verdict::kDeny);
  // The worst of them.
  EXPECT_EQ(due[0].severity, Severity::kError);
  EXPECT_FALSE(due[0].overflow);
  EXPECT_EQ(suppressor_->held_back(), 0u);
  EXPECT_EQ(suppressor_->groups(), 0u);
  // A new period has a burst of its own.
  EXPECT_TRUE(Tells("r", 61));
}

// Nobody asked in time: what was held back is not lost with the period.
TEST_F(SuppressorTest, APeriodEndsByItself) {
  for (int i = 0; i < 5; ++i) Tells("r", 0);
  EXPECT_TRUE(Tells("r", 60));
  std::vector<HeldBack> due = suppressor_->TakeDue(At(61));
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].count, 3u);
  EXPECT_TRUE(suppressor_->TakeDue(At(119)).empty());
  // One in which nothing was held back has nothing to say.
  EXPECT_TRUE(suppressor_->TakeDue(At(120)).empty());
  EXPECT_EQ(suppressor_->groups(), 0u);
}

TEST_F(SuppressorTest, GroupsByTheKeysAlone) {
  spec_.group_by = {SuppressionKey::kRule, SuppressionKey::kCallSite};
  spec_.burst = 1;
  EXPECT_TRUE(Tells("a", 0, 1));
  EXPECT_TRUE(Tells("a", 0, 2));
  EXPECT_TRUE(Tells("b", 0, 1));
  EXPECT_FALSE(Tells("a", 0, 1));
  // All Stores together, since `store` is no key.
  store_.store_id = "s-2";
  EXPECT_FALSE(Tells("a", 0, 1));
  // But not all policies.
  policy_ = "q";
  EXPECT_TRUE(Tells("a", 0, 1));
  policy_ = "p";
  spec_.group_by.push_back(SuppressionKey::kStore);
  EXPECT_TRUE(Tells("a", 0, 1));
  // Texts that would be the same one after another are two.
  spec_.group_by = {SuppressionKey::kTenant, SuppressionKey::kStore};
  store_.tenant = "ab";
  store_.store_id = "c";
  EXPECT_TRUE(Tells("a", 0));
  store_.tenant = "a";
  store_.store_id = "bc";
  EXPECT_TRUE(Tells("a", 0));
}

TEST_F(SuppressorTest, WithoutASpecEveryEventIsTold) {
  spec_.period = absl::ZeroDuration();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Tells("r", 0));
  EXPECT_EQ(suppressor_->groups(), 0u);
}

TEST_F(SuppressorTest, AStoreThatEndsTakesItsOwnGroupsAlong) {
  spec_.burst = 1;
  spec_.group_by = {SuppressionKey::kStore};
  for (const char* id : {"s-1", "s-2"}) {
    store_.store_id = id;
    for (int i = 0; i < 4; ++i) Tells("r", 0);
  }
  spec_.group_by = {SuppressionKey::kRule};
  for (int i = 0; i < 4; ++i) Tells("r", 0);
  const std::vector<HeldBack> ended = suppressor_->TakeStore("s-1");
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].store_id, "s-1");
  EXPECT_EQ(ended[0].count, 3u);
  EXPECT_TRUE(suppressor_->TakeStore("s-1").empty());
  EXPECT_EQ(suppressor_->TakeAll().size(), 2u);
  EXPECT_EQ(suppressor_->held_back(), 0u);
}

// A flood of different groups takes bounded memory, and every event is told or
// counted.
TEST_F(SuppressorTest, MemoryIsBoundedAndNothingIsLost) {
  suppressor_ = std::make_unique<Suppressor>(8);
  spec_.burst = 1;
  constexpr int kEvents = 1000;
  uint64_t told = 0;
  for (int i = 0; i < kEvents; ++i) {
    told += Tells(absl::StrCat("rule-", i), 0) ? 1u : 0u;
    // One more for the events of all that have no room.
    EXPECT_LE(suppressor_->groups(), 9u);
  }
  EXPECT_EQ(told, 9u);
  const std::vector<HeldBack> due = suppressor_->TakeDue(At(60));
  ASSERT_EQ(due.size(), 1u);
  EXPECT_TRUE(due[0].overflow);
  EXPECT_EQ(due[0].count, kEvents - told);
  // With the periods over there is room again.
  EXPECT_TRUE(Tells("rule-0", 61));
  EXPECT_EQ(suppressor_->groups(), 1u);

  // Periods end one after another, and nobody takes what is due.
  suppressor_ = std::make_unique<Suppressor>(8);
  spec_.period = absl::Seconds(1);
  told = 0;
  for (int second = 0; second < 100; ++second) {
    for (int i = 0; i < 3; ++i) told += Tells("r", second) ? 1u : 0u;
  }
  EXPECT_EQ(told, 100u);
  uint64_t held = 0;
  const std::vector<HeldBack> all = suppressor_->TakeAll();
  EXPECT_LE(all.size(), 9u);
  for (const HeldBack& one : all) held += one.count;
  EXPECT_EQ(held, 200u);
}

TEST_F(SuppressorTest, ThreadsShareTheCounts) {
  constexpr int kThreads = 4;
  constexpr int kEvents = 2000;
  std::vector<uint64_t> told(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEvents; ++i) {
        told[static_cast<size_t>(t)] += Tells("r", 0) ? 1u : 0u;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t sum = 0;
  for (const uint64_t one : told) sum += one;
  EXPECT_EQ(sum, 2u);
  EXPECT_EQ(suppressor_->held_back(), uint64_t{kThreads} * kEvents - 2);
}

TEST(SuppressionKeyTest, NamesGoBothWays) {
  for (int i = 0; i < kSuppressionKeyCount; ++i) {
    const auto key = static_cast<SuppressionKey>(i);
    EXPECT_EQ(SuppressionKeyFromName(SuppressionKeyName(key)), key);
  }
  EXPECT_EQ(SuppressionKeyFromName("args.path"), std::nullopt);
}

}  // namespace
}  // namespace callgate::policy
