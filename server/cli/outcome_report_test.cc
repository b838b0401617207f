#include "server/cli/outcome_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/cli/exit_codes.h"

namespace callgate::cli {
namespace {

VerdictCount Denial() {
  VerdictCount verdict;
  verdict.policy = "wasi-command";
  verdict.rule = "imports[3]";
  verdict.verdict = v1::VERDICT_DENY;
  verdict.import_module = "wasi_snapshot_preview1";
  verdict.import_name = "path_open";
  verdict.guest_errno = 76;
  verdict.count = 1;
  return verdict;
}

TEST(VerdictLineTest, NamesTheCallTheRuleAndTheErrno) {
  EXPECT_EQ(VerdictLine(Denial()),
            "denied wasi_snapshot_preview1.path_open by wasi-command/imports[3]"
            " (errno 76)");
}

TEST(VerdictLineTest, CountsEqualOnes) {
  VerdictCount verdict = Denial();
  verdict.count = 12;
  verdict.message = "no files today";
  EXPECT_EQ(VerdictLine(verdict),
            "denied wasi_snapshot_preview1.path_open by wasi-command/imports[3]"
            " (errno 76), 12 times: no files today");
}

TEST(VerdictLineTest, SaysWhatAnAuditRuleWouldHaveDone) {
  VerdictCount verdict = Denial();
  verdict.verdict = v1::VERDICT_ALLOW;
  verdict.would_be_verdict = v1::VERDICT_KILL_STORE;
  EXPECT_EQ(VerdictLine(verdict),
            "audit: would have ended the Store at "
            "wasi_snapshot_preview1.path_open by wasi-command/imports[3]");
}

// The rule that is named is the enforced one, so what it did comes first.
TEST(VerdictLineTest, SaysWhatHappenedBeforeWhatAuditWouldHaveAdded) {
  VerdictCount verdict = Denial();
  verdict.would_be_verdict = v1::VERDICT_QUARANTINE_MODULE;
  EXPECT_EQ(VerdictLine(verdict),
            "denied wasi_snapshot_preview1.path_open by wasi-command/imports[3]"
            " (errno 76) (audit: would have put the module into quarantine at "
            "it)");
}

TEST(VerdictLineTest, QuotesNamesThatADotDoesNotTellApart) {
  VerdictCount verdict = Denial();
  verdict.import_module = "a.b";
  verdict.import_name = "c";
  EXPECT_EQ(VerdictLine(verdict),
            "denied \"a.b\".\"c\" by wasi-command/imports[3] (errno 76)");
  verdict.import_module = "a";
  verdict.import_name = "b.c";
  EXPECT_EQ(VerdictLine(verdict),
            "denied a.b.c by wasi-command/imports[3] (errno 76)");
}

struct VerdictRow {
  v1::Verdict verdict;
  std::string line;
};

class VerdictWords : public testing::TestWithParam<VerdictRow> {};

TEST_P(VerdictWords, AreOnesOwn) {
  VerdictCount verdict = Denial();
  verdict.verdict = GetParam().verdict;
  verdict.import_module = "net";
  verdict.import_name = "send";
  verdict.policy = "web";
  verdict.rule = "r";
  EXPECT_EQ(VerdictLine(verdict), GetParam().line);
}

INSTANTIATE_TEST_SUITE_P(
    All, VerdictWords,
    testing::ValuesIn<VerdictRow>({
        {v1::VERDICT_LOG, "logged net.send by web/r"},
        {v1::VERDICT_ALERT, "alert on net.send by web/r"},
        {v1::VERDICT_THROTTLE, "delayed net.send by web/r"},
        {v1::VERDICT_DENY, "denied net.send by web/r (errno 76)"},
        {v1::VERDICT_TRAP, "trapped net.send by web/r"},
        {v1::VERDICT_KILL_STORE, "ended the Store at net.send by web/r"},
        {v1::VERDICT_QUARANTINE_MODULE,
         "put the module into quarantine at net.send by web/r"},
    }));

TEST(VerdictLineTest, NeedsNoImport) {
  VerdictCount verdict;
  verdict.policy = "web";
  verdict.rule = "budget:host_calls_per_call";
  verdict.verdict = v1::VERDICT_TRAP;
  verdict.count = 1;
  EXPECT_EQ(VerdictLine(verdict),
            "trapped the guest by web/budget:host_calls_per_call");
}

Outcome Trapped() {
  Outcome outcome;
  outcome.kind = OutcomeKind::kTrapped;
  outcome.exit_code = kExitTrapped;
  outcome.trap = TrapFacts();
  outcome.trap->code = "integer_divide_by_zero";
  outcome.trap->message = "integer divide by zero";
  Frame& frame = outcome.trap->frames.emplace_back();
  frame.func_index = 7;
  frame.func_name = "di\x1b[2Jv";
  frame.module_offset = 0x1c2;
  outcome.trap->frames.emplace_back().func_index = 9;
  return outcome;
}

TEST(FrameLinesTest, EscapeTheNames) {
  const std::vector<std::string> lines = FrameLines(Trapped());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "#0 func 7 (di\\x1b[2Jv) at 0x1c2");
  EXPECT_EQ(lines[1], "#1 func 9");
}

TEST(FrameLinesTest, HaveThePlaceInTheSource) {
  Outcome outcome = Trapped();
  outcome.trap->frames[0].source = SourceLocation{"a\x1b[2J.c", 12, 3};
  outcome.trap->frames[1].source = SourceLocation{"b.c", 4, 0};
  const std::vector<std::string> lines = FrameLines(outcome);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "#0 func 7 (di\\x1b[2Jv) in a\\x1b[2J.c:12:3 at 0x1c2");
  EXPECT_EQ(lines[1], "#1 func 9 in b.c:4");
  const std::string json = OutcomeJson(outcome, {});
  EXPECT_THAT(json, testing::HasSubstr(
                        R"("file":"a\u001b[2J.c","line":12,"column":3})"));
  EXPECT_THAT(json, testing::HasSubstr(R"("file":"b.c","line":4})"));
}

struct EndRow {
  OutcomeKind kind;
  std::string line;
};

class EndLines : public testing::TestWithParam<EndRow> {};

TEST_P(EndLines, SayWhoEndedIt) {
  Outcome outcome = Trapped();
  outcome.kind = GetParam().kind;
  outcome.budget = "fuel_per_call";
  outcome.trap->message = "why";
  EXPECT_EQ(EndLine(outcome), GetParam().line);
}

INSTANTIATE_TEST_SUITE_P(
    All, EndLines,
    testing::ValuesIn<EndRow>({
        {OutcomeKind::kReturned, ""},
        {OutcomeKind::kExited, ""},
        {OutcomeKind::kTrapped, "trap: why"},
        {OutcomeKind::kPolicyTrapped, "call ended by policy: why"},
        {OutcomeKind::kPolicyKilled, "Store ended by policy: why"},
        {OutcomeKind::kPolicyQuarantined,
         "Store ended and module in quarantine by policy: why"},
        {OutcomeKind::kBudgetExceeded, "budget fuel_per_call exceeded: why"},
        {OutcomeKind::kKilled, "Store killed: why"},
    }));

TEST(OutcomeJsonTest, HoldsEverything) {
  Outcome outcome = Trapped();
  outcome.verdicts.push_back(Denial());
  outcome.verdicts_omitted = 3;
  outcome.results = {Value::I64(uint64_t{14398862414735836711u}),
                     Value::F64(0.5)};
  outcome.usage.fuel = 1000;
  outcome.usage.host_calls = 2;
  outcome.usage.wall = absl::Milliseconds(250);
  outcome.memory_bytes = 65536;
  outcome.store_usable = false;
  outcome.stdout_bytes = "hi\n";
  outcome.stderr_bytes = "\xff";
  RunFacts facts;
  facts.module_digest = "sha256:00";
  facts.store = "7";
  facts.policies = {"web@1"};
  EXPECT_EQ(
      OutcomeJson(outcome, facts),
      R"({"outcome":"trapped","exit_code":134,"module":"sha256:00",)"
      R"("store":"7","policies":["web@1"],"results":[)"
      R"({"type":"i64","value":"-4047881658973714905",)"
      R"("bits":"0xc7d30913e80d8627"},)"
      R"({"type":"f64","value":"0.5","bits":"0x3fe0000000000000"}],)"
      R"("trap":{"code":"integer_divide_by_zero",)"
      R"("message":"integer divide by zero","frames":[)"
      R"({"func_index":7,"func_name":"di\u001b[2Jv","module_offset":450},)"
      R"({"func_index":9,"func_name":""}]},)"
      R"("verdicts":[{"verdict":"deny","policy":"wasi-command",)"
      R"("rule":"imports[3]","import_module":"wasi_snapshot_preview1",)"
      R"("import_name":"path_open","message":"","guest_errno":76,"count":1}],)"
      R"("verdicts_omitted":3,"usage":{"fuel":1000,"wall_seconds":0.25,)"
      R"("host_calls":2,"host_bytes":0,"memory_bytes":65536},)"
      R"("store_usable":false,"stdout":"hi\n","stderr":")"
      "\xef\xbf\xbd"
      R"(","stderr_base64":"/w=="})"
      "\n");
}

TEST(FailureJsonTest, SaysWhatTheExitCodeMeans) {
  Failure failure;
  failure.exit_code = kExitPolicyRefused;
  failure.message = "policy \"web.yaml\" is refused";
  failure.reason = "POLICY_INVALID";
  failure.details = {"web.yaml:3:5: unknown field"};
  EXPECT_EQ(FailureJson(failure, {}),
            R"({"outcome":"policy_refused","exit_code":78,)"
            R"("message":"policy \"web.yaml\" is refused",)"
            R"("reason":"POLICY_INVALID",)"
            R"("details":["web.yaml:3:5: unknown field"]})"
            "\n");
}

}  // namespace
}  // namespace callgate::cli
