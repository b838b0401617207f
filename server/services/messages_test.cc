#include "server/services/messages.h"

#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

TEST(ValueMessageTest, EveryValueGoesThereAndBack) {
  V128 vector;
  for (size_t i = 0; i < 16; ++i) vector.bytes[i] = static_cast<uint8_t>(i);
  const std::vector<Value> values = {
      Value::I32(0x80000000u),
      Value::I64(int64_t{-2}),
      Value(ValType::kF32, RawValue::I32(0x7fa00001)),  // a signalling NaN
      Value::F64(-0.0),
      Value::Vector(vector),
      Value::NullFuncRef(),
      Value(ValType::kFuncRef, RawValue::Ref(3)),
      Value::NullExternRef(),
      Value::ExternRef(0),
  };
  google::protobuf::RepeatedPtrField<v1::Value> messages;
  for (const Value& value : values) *messages.Add() = ToProto(value);
  const absl::StatusOr<std::vector<Value>> back = ValuesFromProto(messages);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, values);
}

TEST(ValueMessageTest, RefusesWhatIsNoValue) {
  google::protobuf::RepeatedPtrField<v1::Value> messages;
  messages.Add()->set_i32(1);
  messages.Add();
  absl::Status status = ValuesFromProto(messages).status();
  EXPECT_EQ(ReasonOf(status), reason::kBadArgument);
  EXPECT_NE(status.message().find("argument 2"), absl::string_view::npos);
  messages.Mutable(1)->set_v128("short");
  status = ValuesFromProto(messages).status();
  EXPECT_NE(status.message().find("v128 has 5 bytes"), absl::string_view::npos);
}

TEST(DurationMessageTest, OnlyPositiveOnesCount) {
  google::protobuf::Duration message;
  EXPECT_FALSE(PositiveDuration("timeout", false, message)->has_value());
  EXPECT_FALSE(PositiveDuration("timeout", true, message).ok());
  message.set_nanos(-1);
  EXPECT_FALSE(PositiveDuration("timeout", true, message).ok());
  message.set_seconds(1);
  message.set_nanos(500'000'000);
  EXPECT_EQ(**PositiveDuration("timeout", true, message),
            absl::Milliseconds(1500));
  EXPECT_EQ(ToProto(absl::Milliseconds(1500)).nanos(), 500'000'000);
}

TEST(TimeMessageTest, TimesBeforeTheEpochStayInOrder) {
  const google::protobuf::Timestamp before =
      ToProto(absl::UnixEpoch() - absl::Nanoseconds(1));
  EXPECT_EQ(before.seconds(), -1);
  EXPECT_EQ(before.nanos(), 999'999'999);
}

TEST(OutcomeMessageTest, CarriesTheTrapAndTheVerdicts) {
  Outcome outcome;
  outcome.kind = OutcomeKind::kPolicyKilled;
  outcome.exit_code = 134;
  outcome.trap.emplace();
  outcome.trap->code = "refused";
  outcome.trap->message = "no";
  Frame frame;
  frame.func_index = 4;
  frame.func_name = "\xff";
  outcome.trap->frames.push_back(frame);
  frame.source = SourceLocation{"a.c", 12, 3};
  outcome.trap->frames.push_back(frame);
  outcome.usage.fuel = 9;
  VerdictCount verdict;
  verdict.rule = "r";
  verdict.verdict = v1::VERDICT_KILL_STORE;
  verdict.count = 2;
  outcome.verdicts.push_back(verdict);
  outcome.store_usable = false;
  const v1::Outcome message = ToProto(outcome);
  EXPECT_EQ(message.kind(), v1::OUTCOME_KIND_POLICY_KILLED);
  EXPECT_EQ(message.exit_code(), 134);
  EXPECT_EQ(message.trap().frames(0).func_name(), "\xff");
  EXPECT_FALSE(message.trap().frames(0).has_module_offset());
  EXPECT_EQ(message.trap().frames(0).file(), "");
  EXPECT_EQ(message.trap().frames(1).file(), "a.c");
  EXPECT_EQ(message.trap().frames(1).line(), 12u);
  EXPECT_EQ(message.trap().frames(1).column(), 3u);
  EXPECT_EQ(message.usage().fuel(), 9u);
  EXPECT_EQ(message.verdicts(0).count(), 2u);
  EXPECT_FALSE(message.store_usable());
}

TEST(OutcomeMessageTest, AGuestThatTheDeadlineStoppedIsNoOutcome) {
  Outcome outcome;
  outcome.kind = OutcomeKind::kBudgetExceeded;
  EXPECT_TRUE(CheckDeadline(outcome, absl::InfiniteFuture()).ok());
  EXPECT_TRUE(CheckDeadline(outcome, absl::Now() + absl::Hours(1)).ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(CheckDeadline(outcome, absl::Now())));
  outcome.kind = OutcomeKind::kKilled;
  EXPECT_TRUE(absl::IsDeadlineExceeded(CheckDeadline(outcome, absl::Now())));
  // It was in time after all.
  outcome.kind = OutcomeKind::kReturned;
  EXPECT_TRUE(CheckDeadline(outcome, absl::Now()).ok());
}

}  // namespace
}  // namespace callgate
