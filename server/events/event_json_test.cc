#include "server/events/event_json.h"

#include <cstdint>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"

namespace callgate::events {
namespace {

v1::Event Denial() {
  v1::Event event;
  event.set_epoch(1'700'000'000'000'000);
  event.set_seq(7);
  event.mutable_time()->set_seconds(1'700'000'000);
  event.mutable_time()->set_nanos(5);
  event.set_monotonic_ns(-1);
  event.set_kind(v1::EVENT_KIND_DECISION);
  event.set_severity(v1::EVENT_SEVERITY_WARNING);
  event.set_tenant("acme");
  event.mutable_call()->set_import_module("net");
  event.mutable_call()->set_import_name("send\n");
  event.set_verdict(v1::VERDICT_QUARANTINE_MODULE);
  event.set_mode("enforce");
  v1::Event::Rule& rule = *event.add_rules();
  rule.set_policy("baseline");
  rule.set_id("exfil");
  rule.add_tags("T1041");
  rule.add_tags("a \"tag\"");
  event.add_rules()->set_id("second");
  return event;
}

TEST(EventJsonTest, IsOneLineOfShortWords) {
  EXPECT_EQ(EventToJson(Denial()),
            R"({"epoch":1700000000000000,"seq":7,)"
            R"("time":"2023-11-14T22:13:20.000000005Z","monotonic_ns":-1,)"
            R"("kind":"decision","severity":"warning","tenant":"acme",)"
            R"("call":{"import_module":"net","import_name":"send\\x0a"},)"
            R"("verdict":"quarantine_module","mode":"enforce",)"
            R"("rules":[{"policy":"baseline","id":"exfil",)"
            R"("tags":["T1041","a \"tag\""]},{"id":"second"}]})");
  EXPECT_EQ(EventToJson(v1::Event()), "{}");
}

// By a parser that is not ours.
TEST(EventJsonTest, IsJsonWhateverTheBytes) {
  for (int byte = 0; byte < 256; ++byte) {
    v1::Event event = Denial();
    event.set_message(std::string("a") + static_cast<char>(byte) + "\\\"z");
    google::protobuf::Struct parsed;
    const auto status = google::protobuf::util::JsonStringToMessage(
        EventToJson(event), &parsed);
    ASSERT_TRUE(status.ok()) << byte << ": " << EventToJson(event);
    ASSERT_EQ(parsed.fields().at("seq").number_value(), 7);
  }
}

TEST(EventJsonTest, NamesEveryValueShortly) {
  EXPECT_EQ(ShortWord(v1::VERDICT_KILL_STORE), "kill_store");
  EXPECT_EQ(ShortWord(v1::EVENT_SEVERITY_CRITICAL), "critical");
  EXPECT_EQ(ShortWord(v1::EVENT_KIND_LIFECYCLE), "lifecycle");
  EXPECT_EQ(ShortWord(v1::EVENT_KIND_UNSPECIFIED), "");
  EXPECT_EQ(ShortWord(static_cast<v1::EventKind>(99)), "99");
}

}  // namespace
}  // namespace callgate::events
