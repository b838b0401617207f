#include "server/services/messages.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/time/time.h"
#include "proto/callgate/v1/module_service.pb.h"
#include "server/cli/duration_message.h"
#include "server/cli/func_type_message.h"
#include "server/cli/message_json.h"
#include "server/cli/outcome_message.h"

namespace callgate::cli {
namespace {

TEST(FuncTypeMessageTest, RefusesATypeOfALaterRelease) {
  v1::FuncType type;
  type.add_params(v1::VALUE_TYPE_UNSPECIFIED);
  EXPECT_FALSE(FuncTypeOf(type).has_value());
}

TEST(FuncTypeMessageTest, KeepsTheOrder) {
  v1::FuncType message;
  for (const v1::ValueType type :
       {v1::VALUE_TYPE_I32, v1::VALUE_TYPE_I64, v1::VALUE_TYPE_F32,
        v1::VALUE_TYPE_F64, v1::VALUE_TYPE_V128, v1::VALUE_TYPE_FUNCREF}) {
    message.add_params(type);
  }
  message.add_results(v1::VALUE_TYPE_EXTERNREF);
  const std::optional<FuncType> type = FuncTypeOf(message);
  ASSERT_TRUE(type.has_value());
  EXPECT_EQ(type->ToString(),
            "(i32, i64, f32, f64, v128, funcref) -> (externref)");
}

TEST(OutcomeMessageTest, BringsEverythingOver) {
  v1::Outcome message;
  message.set_kind(v1::OUTCOME_KIND_BUDGET_EXCEEDED);
  message.set_exit_code(134);
  message.add_results()->set_i32(-7);
  message.mutable_trap()->set_code("out_of_fuel");
  message.mutable_trap()->set_message("out of fuel");
  v1::TrapFrame& frame = *message.mutable_trap()->add_frames();
  frame.set_func_index(3);
  frame.set_func_name("f\xff");
  frame.set_module_offset(99);
  frame.set_file("a.c");
  frame.set_line(12);
  frame.set_column(3);
  message.mutable_trap()->add_frames();
  message.mutable_usage()->set_fuel(5);
  message.mutable_usage()->set_host_calls(6);
  message.mutable_usage()->set_host_bytes(7);
  message.mutable_usage()->set_memory_bytes(8);
  message.mutable_usage()->mutable_wall()->set_seconds(2);
  v1::VerdictCount& verdict = *message.add_verdicts();
  verdict.set_policy("p");
  verdict.set_rule("r");
  verdict.set_verdict(v1::VERDICT_DENY);
  verdict.set_would_be_verdict(v1::VERDICT_TRAP);
  verdict.set_import_module("m");
  verdict.set_import_name("n");
  verdict.set_message("why");
  verdict.set_guest_errno(76);
  verdict.set_count(4);
  message.set_verdicts_omitted(9);
  message.set_budget("fuel_per_call");
  message.set_store_usable(true);
  message.set_stdout_bytes("out");
  message.set_stderr_bytes("err");
  message.set_output_omitted_bytes(10);

  const std::optional<Outcome> outcome = OutcomeOf(message);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->kind, OutcomeKind::kBudgetExceeded);
  EXPECT_EQ(outcome->exit_code, 134);
  ASSERT_EQ(outcome->results.size(), 1u);
  EXPECT_EQ(outcome->results[0].i32(), -7);
  ASSERT_TRUE(outcome->trap.has_value());
  EXPECT_EQ(outcome->trap->code, "out_of_fuel");
  EXPECT_EQ(outcome->trap->message, "out of fuel");
  ASSERT_EQ(outcome->trap->frames.size(), 2u);
  EXPECT_EQ(outcome->trap->frames[0].func_index, 3u);
  EXPECT_EQ(outcome->trap->frames[0].func_name, "f\xff");
  EXPECT_EQ(outcome->trap->frames[0].module_offset, 99u);
  ASSERT_TRUE(outcome->trap->frames[0].source.has_value());
  EXPECT_EQ(ToString(*outcome->trap->frames[0].source), "a.c:12:3");
  EXPECT_FALSE(outcome->trap->frames[1].source.has_value());
  EXPECT_EQ(outcome->usage.fuel, 5u);
  EXPECT_EQ(outcome->usage.host_calls, 6u);
  EXPECT_EQ(outcome->usage.host_bytes, 7u);
  EXPECT_EQ(outcome->memory_bytes, 8u);
  EXPECT_EQ(outcome->usage.wall, absl::Seconds(2));
  ASSERT_EQ(outcome->verdicts.size(), 1u);
  EXPECT_EQ(outcome->verdicts[0].policy, "p");
  EXPECT_EQ(outcome->verdicts[0].rule, "r");
  EXPECT_EQ(outcome->verdicts[0].verdict, v1::VERDICT_DENY);
  EXPECT_EQ(outcome->verdicts[0].would_be_verdict, v1::VERDICT_TRAP);
  EXPECT_EQ(outcome->verdicts[0].import_module, "m");
  EXPECT_EQ(outcome->verdicts[0].import_name, "n");
  EXPECT_EQ(outcome->verdicts[0].message, "why");
  EXPECT_EQ(outcome->verdicts[0].guest_errno, 76u);
  EXPECT_EQ(outcome->verdicts[0].count, 4u);
  EXPECT_EQ(outcome->verdicts_omitted, 9u);
  EXPECT_EQ(outcome->budget, "fuel_per_call");
  EXPECT_TRUE(outcome->store_usable);
  EXPECT_EQ(outcome->stdout_bytes, "out");
  EXPECT_EQ(outcome->stderr_bytes, "err");
  EXPECT_EQ(outcome->output_omitted_bytes, 10u);
}

TEST(OutcomeMessageTest, RefusesAKindOfALaterRelease) {
  v1::Outcome message;
  EXPECT_FALSE(OutcomeOf(message).has_value());
  message.set_kind(static_cast<v1::OutcomeKind>(99));
  EXPECT_FALSE(OutcomeOf(message).has_value());
  message.set_kind(v1::OUTCOME_KIND_RETURNED);
  EXPECT_TRUE(OutcomeOf(message).has_value());
  message.add_results();
  EXPECT_FALSE(OutcomeOf(message).has_value());
}

TEST(DurationMessageTest, GoesThereAndBack) {
  for (const absl::Duration duration :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Milliseconds(1500),
        absl::Hours(24 * 365)}) {
    EXPECT_EQ(DurationOf(ToProto(duration)), duration);
  }
}

TEST(MessageJsonTest, IsOneLineForATerminal) {
  v1::ModuleImport import;
  import.set_module("a\nb");
  import.set_name("c\x1b[2J\xe2\x80\xae\xc2\x9b");
  const std::string json = MessageJson(import);
  EXPECT_EQ(json, R"({"module":"a\nb","name":"c\u001b[2J\u202e\u009b",)"
                  R"("kind":"EXTERN_KIND_UNSPECIFIED","type":""})");
}

}  // namespace
}  // namespace callgate::cli
