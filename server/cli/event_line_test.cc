#include "server/cli/event_line.h"

#include <gtest/gtest.h>

namespace callgate::cli {
namespace {

v1::Event Base() {
  v1::Event event;
  event.mutable_time()->set_seconds(1795353812);
  event.mutable_time()->set_nanos(104'000'000);
  return event;
}

TEST(EventLineTest, ShowsADecision) {
  v1::Event event = Base();
  event.set_kind(v1::EVENT_KIND_DECISION);
  event.set_severity(v1::EVENT_SEVERITY_WARNING);
  event.set_verdict(v1::VERDICT_DENY);
  event.mutable_call()->set_import_module("net");
  event.mutable_call()->set_import_name("connect");
  v1::Event::Rule& rule = *event.add_rules();
  rule.set_policy("web");
  rule.set_id("ssrf");
  event.set_store("7");
  event.set_decision_id("7-3");
  event.set_message("private address");
  event.set_suppressed(4);
  EXPECT_EQ(EventLine(event),
            "2026-11-22T13:23:32.104Z warning decision deny net.connect by "
            "web/ssrf store 7 decision 7-3 (and 4 like it): private address");
}

TEST(EventLineTest, ShowsWhatHappenedInsideTheGuest) {
  v1::Event event = Base();
  event.set_kind(v1::EVENT_KIND_DECISION);
  event.set_severity(v1::EVENT_SEVERITY_WARNING);
  event.set_verdict(v1::VERDICT_ALERT);
  event.mutable_function()->set_index(5);
  event.mutable_function()->set_name("parse_header");
  event.add_recent_calls();
  event.add_recent_calls();
  EXPECT_EQ(EventLine(event),
            "2026-11-22T13:23:32.104Z warning decision alert function 5 "
            "parse_header after 2 calls");
  event.clear_function();
  event.clear_recent_calls();
  event.mutable_growth()->set_from(65536);
  event.mutable_growth()->set_to(131072);
  EXPECT_EQ(EventLine(event),
            "2026-11-22T13:23:32.104Z warning decision alert memory 0 from "
            "65536 to 131072");
}

TEST(EventLineTest, ShowsWhatAnAuditRuleWouldHaveDone) {
  v1::Event event = Base();
  event.set_kind(v1::EVENT_KIND_DECISION);
  event.set_severity(v1::EVENT_SEVERITY_NOTICE);
  event.set_verdict(v1::VERDICT_ALLOW);
  event.set_would_be_verdict(v1::VERDICT_TRAP);
  EXPECT_EQ(EventLine(event),
            "2026-11-22T13:23:32.104Z notice decision audit:trap");
}

TEST(EventLineTest, ShowsWhatHappenedAndWhatAuditWouldHaveAdded) {
  v1::Event event = Base();
  event.set_kind(v1::EVENT_KIND_DECISION);
  event.set_verdict(v1::VERDICT_DENY);
  event.set_would_be_verdict(v1::VERDICT_TRAP);
  event.mutable_call()->set_import_module("a.b");
  event.mutable_call()->set_import_name("c");
  EXPECT_EQ(EventLine(event),
            "2026-11-22T13:23:32.104Z - decision deny audit:trap "
            "\"a.b\".\"c\"");
}

TEST(EventLineTest, ShowsWhatHappenedToAStore) {
  v1::Event event = Base();
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_INFO);
  event.set_action("store_ended");
  event.set_store("7");
  event.set_outcome("trapped");
  EXPECT_EQ(EventLine(event),
            "2026-11-22T13:23:32.104Z info lifecycle store_ended store 7 "
            "trapped");
}

TEST(EventLineTest, ShowsWhereAGuestTrapped) {
  v1::Event event = Base();
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_INFO);
  event.set_action("call_trapped");
  event.set_store("7");
  event.set_outcome("trapped");
  event.set_source("a\x1b.c:12:3");
  event.set_message("unreachable");
  EXPECT_EQ(EventLine(event),
            "2026-11-22T13:23:32.104Z info lifecycle call_trapped store 7 "
            "trapped in a\\x1b.c:12:3: unreachable");
}

TEST(EventLineTest, IsOneLineForATerminal) {
  v1::Event event = Base();
  event.set_kind(v1::EVENT_KIND_POLICY);
  event.set_message("a\nb\x1b[2J");
  EXPECT_EQ(EventLine(event),
            "2026-11-22T13:23:32.104Z - policy: a\\x0ab\\x1b[2J");
}

TEST(GapLineTest, CountsWhatIsLost) {
  v1::Gap gap;
  gap.set_from_seq(3);
  gap.set_to_seq(9);
  gap.set_count(5);
  gap.set_reason("queue_full");
  EXPECT_EQ(GapLine(gap), "... 5 events lost between 3 and 9: queue_full");
}

}  // namespace
}  // namespace callgate::cli
