#include "server/event_suppressor.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/suppression_spec.h"

namespace callgate {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

absl::Time g_now;

class EventSuppressorTest : public testing::Test {
 protected:
  EventSuppressorTest() : log_(events::EventLogOptions()) {
    g_now = absl::UnixEpoch();
    subscription_ =
        *log_.Subscribe(events::EventFilter(), {}, events::kSinkWatch);
  }

  bool Tells(const std::string& rule, const std::string& store) {
    store_.store_id = store;
    policy::DecisionRecord record;
    record.store = &store_;
    record.policy = "p";
    record.rule = rule;
    record.verdict = policy::Verdict::kDeny;
    record.would_be_verdict = policy::Verdict::kDeny;
    record.severity = policy::Severity::kWarning;
    record.import_module = "net";
    record.import_name = "send";
    record.suppression = &spec_;
    return suppressor_.Tells(record);
  }

  // "store rule verdict held".
  std::vector<std::string> Logged() {
    std::vector<std::string> lines;
    while (auto item = subscription_->Next(absl::InfinitePast())) {
      const v1::Event& e = *item->event;
      EXPECT_EQ(e.kind(), v1::EVENT_KIND_DECISION);
      EXPECT_EQ(e.severity(), v1::EVENT_SEVERITY_WARNING);
      EXPECT_EQ(e.call().import_name(), "send");
      lines.push_back(
          absl::StrCat(e.store(), " ", e.rules(0).id(), " ", e.suppressed()));
    }
    return lines;
  }

  events::EventLog log_;
  std::unique_ptr<events::Subscription> subscription_;
  EventSuppressor suppressor_{log_, [] { return g_now; }};
  policy::SuppressionSpec spec_{
      1,
      absl::Seconds(60),
      {policy::SuppressionKey::kStore, policy::SuppressionKey::kRule}};
  policy::StoreFacts store_;
};

TEST_F(EventSuppressorTest, SaysWhatItHeldBackWhenThePeriodIsOver) {
  EXPECT_TRUE(Tells("r", "s-1"));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(Tells("r", "s-1"));
  suppressor_.Sweep();
  EXPECT_THAT(Logged(), IsEmpty());
  g_now += absl::Seconds(60);
  suppressor_.Sweep();
  EXPECT_THAT(Logged(), ElementsAre("s-1 r 5"));
  suppressor_.Sweep();
  EXPECT_THAT(Logged(), IsEmpty());
}

TEST_F(EventSuppressorTest, SaysItWhenTheStoreEnds) {
  for (int i = 0; i < 3; ++i) Tells("r", "s-1");
  for (int i = 0; i < 3; ++i) Tells("r", "s-2");
  suppressor_.StoreEnded("s-1");
  EXPECT_THAT(Logged(), ElementsAre("s-1 r 2"));
  suppressor_.TellAll();
  EXPECT_THAT(Logged(), ElementsAre("s-2 r 2"));
}

}  // namespace
}  // namespace callgate
