#include "server/explanations.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace callgate {
namespace {

struct Sample {
  policy::StoreFacts store = {"s1", "acme", "sha256:00", "mod"};
  std::string id = "s1-1";
  std::string message = "opens \"/secret\"";
  std::vector<policy::RuleMatch> matches;
  std::vector<policy::FactText> facts = {{"args.path", "\"/secret\""},
                                         {"args.key", "<redacted>"}};
  std::vector<policy::ConditionAnswer> answers;
  std::vector<std::string> tags = {"T1552"};

  policy::DecisionRecord Record() {
    policy::RuleMatch match;
    match.policy = "web";
    match.policy_version = "1234";
    match.rule = "secret";
    match.verdict = policy::Verdict::kDeny;
    match.severity = policy::Severity::kError;
    match.message = message;
    match.tags = tags;
    matches = {match};
    answers = {
        {"web", "other", policy::ConditionAnswer::Kind::kFalse, ""},
        {"web", "spared", policy::ConditionAnswer::Kind::kExcepted, "proxy"},
        {"web", "secret", policy::ConditionAnswer::Kind::kTrue, ""}};
    policy::DecisionRecord record;
    record.decision_id = id;
    record.store = &store;
    record.verdict = policy::Verdict::kDeny;
    record.would_be_verdict = policy::Verdict::kDeny;
    record.policy = "web";
    record.rule = "secret";
    record.message = message;
    record.guest_errno = 76;
    record.matches = matches;
    record.import_module = "fs";
    record.import_name = "open\n";
    record.facts = facts;
    record.answers = answers;
    return record;
  }
};

TEST(ExplanationsTest, KeepsFactsRulesConditionsAndExceptions) {
  Explanations explanations;
  Sample sample;
  explanations.Keep(sample.Record(), absl::FromUnixSeconds(7));
  sample.message = "gone";
  const auto found = explanations.Find("s1-1");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->subject(), "\"fs\".\"open\\n\"");
  EXPECT_EQ(found->verdict(), "deny");
  EXPECT_EQ(found->guest_errno(), 76u);
  EXPECT_EQ(found->time().seconds(), 7);
  EXPECT_EQ(found->message(), "opens \"/secret\"");
  ASSERT_EQ(found->matches_size(), 1);
  EXPECT_EQ(found->matches(0).severity(), "error");
  EXPECT_EQ(found->matches(0).tags(0), "T1552");
  ASSERT_EQ(found->facts_size(), 2);
  EXPECT_EQ(found->facts(1).text(), "<redacted>");
  ASSERT_EQ(found->conditions_size(), 3);
  EXPECT_EQ(found->conditions(0).answer(), "false");
  EXPECT_EQ(found->conditions(1).answer(), "excepted");
  EXPECT_EQ(found->conditions(1).exception(), "proxy");
  EXPECT_FALSE(explanations.Find("s1-2").has_value());
}

TEST(ExplanationsTest, APlainAllowIsNotKeptAndAnAuditIs) {
  Explanations explanations;
  Sample sample;
  policy::DecisionRecord record = sample.Record();
  record.verdict = policy::Verdict::kAllow;
  explanations.Keep(record, absl::Now());
  ASSERT_TRUE(explanations.Find("s1-1").has_value());
  EXPECT_EQ(explanations.Find("s1-1")->would_be_verdict(), "deny");
  record.decision_id = "s1-2";
  record.would_be_verdict = policy::Verdict::kAllow;
  explanations.Keep(record, absl::Now());
  EXPECT_FALSE(explanations.Find("s1-2").has_value());
}

TEST(ExplanationsTest, TheOldestMakeRoom) {
  Explanations explanations(/*bytes_max=*/4096);
  Sample sample;
  for (int i = 0; i < 1000; ++i) {
    sample.id = absl::StrCat("s1-", i);
    explanations.Keep(sample.Record(), absl::Now());
  }
  EXPECT_FALSE(explanations.Find("s1-0").has_value());
  EXPECT_TRUE(explanations.Find("s1-999").has_value());
  int kept = 0;
  for (int i = 0; i < 1000; ++i) {
    kept += explanations.Find(absl::StrCat("s1-", i)).has_value() ? 1 : 0;
  }
  EXPECT_GT(kept, 5);
  EXPECT_LT(kept, 20);
  // One that is too large by itself leaves the others alone.
  sample.id = "s1-big";
  sample.message = std::string(5000, 'x');
  explanations.Keep(sample.Record(), absl::Now());
  EXPECT_FALSE(explanations.Find("s1-big").has_value());
  EXPECT_TRUE(explanations.Find("s1-999").has_value());
}

}  // namespace
}  // namespace callgate
