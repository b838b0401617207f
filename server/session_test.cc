#include "server/session.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "runtime/reference/reference_engine.h"
#include "server/error_reason.h"
#include "server/module_admission.h"
#include "server/turn_queue.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using PolicyRef = std::shared_ptr<const policy::Policy>;

const Engine& TheEngine() {
  static const Engine* const engine = NewReferenceEngine().release();
  return *engine;
}

std::shared_ptr<const Module> Compile(absl::string_view wat) {
  const absl::StatusOr<std::vector<uint8_t>> bytes = AssembleWat(wat);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  absl::StatusOr<std::shared_ptr<const Module>> module =
      Module::Compile(TheEngine(), *bytes);
  EXPECT_TRUE(module.ok()) << module.status();
  return *std::move(module);
}

PolicyRef CompilePolicyOrDie(absl::string_view yaml) {
  const policy::CompileResult compiled =
      policy::CompilePolicyText(yaml, "test.yaml");
  for (const policy::Problem& problem : compiled.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  return compiled.policy;
}

// A policy with these lines after its head.
PolicyRef PolicyWith(absl::string_view body) {
  return CompilePolicyOrDie(
      absl::StrCat("api_version: callgate.policy/v1\n"
                   "kind: Policy\n"
                   "metadata: { name: test }\n",
                   body));
}

// One that lets everything through.
PolicyRef OpenPolicy() {
  return PolicyWith("defaults: { unlisted_import: allow }\n");
}

SessionConfig ConfigOf(absl::string_view wat, PolicyRef policy) {
  SessionConfig config;
  config.store_id = "s-test";
  config.module_digest = "sha256:test";
  config.module = Compile(wat);
  config.policies = {std::move(policy)};
  return config;
}

std::unique_ptr<Session> MakeSession(SessionConfig config,
                                     const HostModules& host_modules = {}) {
  absl::StatusOr<std::unique_ptr<Session>> session =
      Session::Create(TheEngine(), host_modules, std::move(config));
  EXPECT_TRUE(session.ok()) << session.status();
  return *std::move(session);
}

// Instantiated.
std::unique_ptr<Session> StartSession(SessionConfig config,
                                      const HostModules& host_modules = {}) {
  std::unique_ptr<Session> session =
      MakeSession(std::move(config), host_modules);
  const absl::StatusOr<Outcome> outcome = session->Instantiate();
  EXPECT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->kind, OutcomeKind::kReturned);
  return session;
}

absl::StatusOr<Outcome> CallExport(Session& session, absl::string_view name,
                                   std::vector<Value> args = {}) {
  CallRequest request;
  request.export_name = std::string(name);
  request.args = std::move(args);
  return session.Call(request);
}

constexpr char kAdder[] = R"((module
  (func (export "add") (param i32 i32) (result i32)
    local.get 0 local.get 1 i32.add)
  (func (export "spin") (loop br 0))
  (func (export "crash") unreachable)
  (memory (export "memory") 1)))";

TEST(SessionTest, CallsReturnTheirValuesAndTheirUse) {
  const auto session = StartSession(ConfigOf(kAdder, OpenPolicy()));
  const absl::StatusOr<Outcome> outcome =
      CallExport(*session, "add", {Value::I32(40), Value::I32(2)});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->kind, OutcomeKind::kReturned);
  EXPECT_EQ(outcome->exit_code, 0);
  EXPECT_THAT(outcome->results, ElementsAre(Value::I32(42)));
  EXPECT_GT(outcome->usage.fuel, 0u);
  EXPECT_EQ(outcome->memory_bytes, kWasmPageBytes);
  EXPECT_TRUE(outcome->store_usable);
  const SessionFacts facts = session->facts();
  EXPECT_EQ(facts.state, SessionState::kIdle);
  EXPECT_EQ(facts.calls, 2);  // the instantiation is one
  EXPECT_EQ(facts.memory_bytes, kWasmPageBytes);
}

TEST(SessionTest, ATrapLeavesTheStoreUsable) {
  const auto session = StartSession(ConfigOf(kAdder, OpenPolicy()));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "crash");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->kind, OutcomeKind::kTrapped);
  EXPECT_EQ(outcome->exit_code, 134);
  ASSERT_TRUE(outcome->trap.has_value());
  EXPECT_EQ(outcome->trap->code, "unreachable");
  ASSERT_FALSE(outcome->trap->frames.empty());
  EXPECT_EQ(outcome->trap->frames[0].func_name, "crash");
  EXPECT_TRUE(outcome->store_usable);
  EXPECT_TRUE(CallExport(*session, "add", {Value::I32(1), Value::I32(1)}).ok());
}

TEST(SessionTest, WrongRequestsAreNoCalls) {
  const auto session = StartSession(ConfigOf(kAdder, OpenPolicy()));
  EXPECT_EQ(ReasonOf(CallExport(*session, "nope").status()),
            reason::kExportNotFound);
  EXPECT_EQ(ReasonOf(CallExport(*session, "memory").status()),
            reason::kExportNotFound);
  EXPECT_EQ(ReasonOf(CallExport(*session, "_start").status()),
            reason::kNoStart);
  EXPECT_EQ(ReasonOf(CallExport(*session, "add", {}).status()),
            reason::kBadArgument);
  EXPECT_EQ(ReasonOf(CallExport(*session, "add",
                                {Value::I64(int64_t{1}), Value::I32(1)})
                         .status()),
            reason::kBadArgument);
}

TEST(SessionTest, AnExitEndsTheStoreWithTheGuestsCode) {
  const auto session = StartSession(ConfigOf(R"((module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const 3)))))",
                                             OpenPolicy()));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "_start");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->kind, OutcomeKind::kExited);
  EXPECT_EQ(outcome->exit_code, 3);
  EXPECT_FALSE(outcome->trap.has_value());
  EXPECT_FALSE(outcome->store_usable);
  EXPECT_EQ(session->facts().state, SessionState::kExited);
  const absl::Status again = CallExport(*session, "_start").status();
  EXPECT_EQ(ReasonOf(again), reason::kStoreEnded);
  EXPECT_THAT(std::string(again.message()), HasSubstr("exited with 3"));
}

// A guest that returns what random_get answers.
constexpr char kRandom[] = R"((module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (result i32)
    (call $random (i32.const 0) (i32.const 8)))))";

struct VerdictRow {
  std::string name;
  std::string policy;
  OutcomeKind kind;
  SessionState state;
  v1::Verdict verdict;
  v1::Verdict would_be;
};

class VerdictTest : public testing::TestWithParam<VerdictRow> {};

TEST_P(VerdictTest, DecidesTheOutcome) {
  const VerdictRow& row = GetParam();
  const auto session = StartSession(ConfigOf(kRandom, PolicyWith(row.policy)));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "run");
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(OutcomeKindName(outcome->kind), OutcomeKindName(row.kind));
  EXPECT_EQ(session->facts().state, row.state);
  if (row.verdict == v1::VERDICT_UNSPECIFIED) {
    EXPECT_THAT(outcome->verdicts, IsEmpty());
  } else {
    ASSERT_EQ(outcome->verdicts.size(), 1u);
    EXPECT_EQ(outcome->verdicts[0].verdict, row.verdict);
    EXPECT_EQ(outcome->verdicts[0].would_be_verdict, row.would_be);
    EXPECT_EQ(outcome->verdicts[0].policy, "test");
    EXPECT_EQ(outcome->verdicts[0].import_name, "random_get");
    EXPECT_EQ(outcome->verdicts[0].count, 1u);
  }
  const bool returned = row.kind == OutcomeKind::kReturned;
  EXPECT_EQ(outcome->exit_code, returned ? 0 : 134);
  if (returned) {
    const bool denied = row.verdict == v1::VERDICT_DENY;
    EXPECT_EQ(outcome->results[0].u32(), denied ? 76u : 0u);
  } else {
    EXPECT_THAT(outcome->trap->message, HasSubstr("random_get"));
  }
  const bool ended = row.state != SessionState::kIdle;
  EXPECT_EQ(outcome->store_usable, !ended);
  EXPECT_EQ(ReasonOf(CallExport(*session, "run").status()),
            ended ? reason::kStoreEnded : "");
}

INSTANTIATE_TEST_SUITE_P(
    Actions, VerdictTest,
    testing::ValuesIn<VerdictRow>({
        {"allowed",
         "imports: [{ import: wasi_snapshot_preview1.random_get, action: allow "
         "}]\n",
         OutcomeKind::kReturned, SessionState::kIdle, v1::VERDICT_UNSPECIFIED,
         v1::VERDICT_UNSPECIFIED},
        {"unlisted", "", OutcomeKind::kReturned, SessionState::kIdle,
         v1::VERDICT_DENY, v1::VERDICT_UNSPECIFIED},
        {"denied",
         "imports: [{ import: wasi_snapshot_preview1.random_get, action: deny "
         "}]\n",
         OutcomeKind::kReturned, SessionState::kIdle, v1::VERDICT_DENY,
         v1::VERDICT_UNSPECIFIED},
        {"trap",
         "imports: [{ import: wasi_snapshot_preview1.random_get, action: trap "
         "}]\n",
         OutcomeKind::kPolicyTrapped, SessionState::kIdle, v1::VERDICT_TRAP,
         v1::VERDICT_UNSPECIFIED},
        {"kill",
         "imports: [{ import: wasi_snapshot_preview1.random_get, action: "
         "kill_store }]\n",
         OutcomeKind::kPolicyKilled, SessionState::kPolicyKilled,
         v1::VERDICT_KILL_STORE, v1::VERDICT_UNSPECIFIED},
        {"quarantine",
         "imports: [{ import: wasi_snapshot_preview1.random_get, action: "
         "quarantine_module }]\n",
         OutcomeKind::kPolicyQuarantined, SessionState::kPolicyKilled,
         v1::VERDICT_QUARANTINE_MODULE, v1::VERDICT_UNSPECIFIED},
        {"audit",
         "defaults: { mode: audit }\n"
         "imports: [{ import: wasi_snapshot_preview1.random_get, action: trap "
         "}]\n",
         OutcomeKind::kReturned, SessionState::kIdle, v1::VERDICT_ALLOW,
         v1::VERDICT_TRAP},
    }),
    [](const auto& row) { return row.param.name; });

struct BudgetRow {
  std::string name;
  std::string policy;
  std::string budget;
};

class BudgetTest : public testing::TestWithParam<BudgetRow> {};

TEST_P(BudgetTest, EndsTheCallAndNamesItself) {
  const auto session = StartSession(ConfigOf(R"((module
    (import "wasi_snapshot_preview1" "sched_yield"
      (func $yield (result i32)))
    (func (export "run") (loop (drop (call $yield)) (br 0)))))",
                                             PolicyWith(GetParam().policy)));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "run");
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(OutcomeKindName(outcome->kind), "budget_exceeded");
  EXPECT_EQ(outcome->budget, GetParam().budget);
  EXPECT_EQ(outcome->exit_code, 134);
  EXPECT_TRUE(outcome->store_usable);
}

INSTANTIATE_TEST_SUITE_P(
    Budgets, BudgetTest,
    testing::ValuesIn<BudgetRow>({
        {"fuel",
         "defaults: { unlisted_import: allow }\n"
         "budgets: { fuel_per_call: 10000 }\n",
         "fuel_per_call"},
        {"fuel_of_store",
         "defaults: { unlisted_import: allow }\n"
         "budgets: { fuel_per_call: 10000, fuel_per_store: 5000 }\n",
         "fuel_per_store"},
        {"wall",
         "defaults: { unlisted_import: allow }\n"
         "budgets: { wall_per_call: 20ms }\n",
         "wall_per_call"},
        {"host_calls",
         "defaults: { unlisted_import: allow }\n"
         "budgets: { host_calls_per_call: 100 }\n",
         "host_calls_per_call"},
        {"cpu",
         "defaults: { unlisted_import: allow }\n"
         "budgets: { cpu_per_call: 20ms }\n",
         "cpu_per_call"},
        {"prices",
         "defaults: { unlisted_import: allow }\n"
         "budgets: { fuel_per_call: 1000000, host_call_price: [{ import: "
         "'*', base: 600000 }] }\n",
         "fuel_per_call"},
    }),
    [](const auto& row) { return row.param.name; });

TEST(SessionBudgetTest, TheSmallestLimitCounts) {
  SessionConfig config =
      ConfigOf(kAdder, PolicyWith("defaults: { unlisted_import: allow }\n"
                                  "budgets: { fuel_per_call: 1000000000 }\n"));
  config.fuel_per_call = 5'000;
  const auto session = StartSession(std::move(config));
  CallRequest request;
  request.export_name = "spin";
  absl::StatusOr<Outcome> outcome = session->Call(request);
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->kind, OutcomeKind::kBudgetExceeded);
  EXPECT_GE(outcome->usage.fuel, 5'000u);
  EXPECT_LT(outcome->usage.fuel, 50'000u);
  request.fuel = 100;
  outcome = session->Call(request);
  ASSERT_TRUE(outcome.ok());
  EXPECT_LT(outcome->usage.fuel, 5'000u);
}

TEST(SessionBudgetTest, TheCallersDeadlineIsAWallBudget) {
  const auto session = StartSession(ConfigOf(kAdder, OpenPolicy()));
  CallRequest request;
  request.export_name = "spin";
  request.deadline = absl::Now() + absl::Milliseconds(20);
  const absl::StatusOr<Outcome> outcome = session->Call(request);
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->kind, OutcomeKind::kBudgetExceeded);
  EXPECT_EQ(outcome->budget, "wall_per_call");
  EXPECT_GE(absl::Now(), request.deadline);
}

TEST(SessionBudgetTest, TheDefaultHoldsOnlyWhereNobodySaysAnything) {
  SessionConfig config = ConfigOf(kAdder, OpenPolicy());
  config.default_wall_per_call = absl::Milliseconds(20);
  const auto session = StartSession(std::move(config));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "spin");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->budget, "wall_per_call");
}

TEST(SessionBudgetTest, AStoresFuelIsUsedUpOverManyCalls) {
  const auto session = StartSession(
      ConfigOf(kAdder, PolicyWith("budgets: { fuel_per_store: 200 }\n")));
  int returned = 0;
  absl::StatusOr<Outcome> outcome;
  for (int i = 0; i < 1'000; ++i) {
    outcome = CallExport(*session, "add", {Value::I32(1), Value::I32(1)});
    ASSERT_TRUE(outcome.ok());
    if (outcome->kind != OutcomeKind::kReturned) break;
    ++returned;
  }
  EXPECT_GT(returned, 0);
  EXPECT_LT(returned, 200);
  EXPECT_EQ(outcome->kind, OutcomeKind::kBudgetExceeded);
  EXPECT_EQ(outcome->budget, "fuel_per_store");
}

// The reference engine counts frames, so a budget of bytes is not held.
TEST(SessionBudgetTest, WhatTheEngineDoesNotHoldIsAWarning) {
  const auto session = MakeSession(
      ConfigOf(kAdder, PolicyWith("budgets: { stack_bytes: 65536 }\n")));
  EXPECT_THAT(session->warnings(),
              ElementsAre("policy test: the reference engine does not hold "
                          "stack_bytes; set call_depth"));
  EXPECT_THAT(
      MakeSession(
          ConfigOf(kAdder, PolicyWith("budgets: { call_depth: 100 }\n")))
          ->warnings(),
      IsEmpty());
}

constexpr char kParser[] = R"((module
  (func $parse_line (param i32) (result i32) (local.get 0))
  (func (export "parse") (param i32) (result i32)
    (call $parse_line (local.get 0)))
  (memory (export "memory") 1 10)
  (func (export "grow") (result i32) (memory.grow (i32.const 1)))))";

TEST(SessionInnerRulesTest, FunctionsOfTheGuestAreJudged) {
  const auto session = StartSession(ConfigOf(
      kParser,
      PolicyWith("rules:\n"
                 "  - { id: long, event: function, function: 'parse_*', when: "
                 "'args.p0 > 100', action: trap }\n"
                 "  - { id: gone, event: function, function: 'decode_*', when: "
                 "'true', action: trap }\n")));
  EXPECT_THAT(session->warnings(),
              ElementsAre("policy test: rule gone is pending: no function of "
                          "the module fits decode_*"));
  EXPECT_EQ(CallExport(*session, "parse", {Value::I32(100)})->kind,
            OutcomeKind::kReturned);
  const absl::StatusOr<Outcome> outcome =
      CallExport(*session, "parse", {Value::I32(101)});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->kind, OutcomeKind::kPolicyTrapped);
  ASSERT_EQ(outcome->verdicts.size(), 1u);
  EXPECT_EQ(outcome->verdicts[0].rule, "long");
  EXPECT_TRUE(outcome->store_usable);
}

TEST(SessionInnerRulesTest, GrowthThatIsKilledEndsTheStore) {
  const auto session = StartSession(ConfigOf(
      kParser, PolicyWith("rules: [{ id: r, event: memory_grow, when: 'grow.to "
                          "> 131072', action: kill_store }]\n")));
  EXPECT_EQ(CallExport(*session, "grow")->kind, OutcomeKind::kReturned);
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "grow");
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->kind, OutcomeKind::kPolicyKilled);
  EXPECT_FALSE(outcome->store_usable);
}

// Of policies that come while the Store lives: from its next call on.
TEST(SessionInnerRulesTest, FunctionsAreWatchedUnderNewPolicies) {
  const auto session =
      StartSession(ConfigOf(kParser, PolicyWith("imports: []\n")));
  EXPECT_EQ(CallExport(*session, "parse", {Value::I32(101)})->kind,
            OutcomeKind::kReturned);
  EXPECT_THAT(session->ReplacePolicies({PolicyWith(
                  "rules: [{ id: long, event: function, function: "
                  "'parse_*', when: 'args.p0 > 100', action: trap }]\n")}),
              IsEmpty());
  EXPECT_EQ(CallExport(*session, "parse", {Value::I32(101)})->kind,
            OutcomeKind::kPolicyTrapped);
  EXPECT_EQ(CallExport(*session, "parse", {Value::I32(100)})->kind,
            OutcomeKind::kReturned);
  session->ReplacePolicies({PolicyWith("imports: []\n")});
  EXPECT_EQ(CallExport(*session, "parse", {Value::I32(101)})->kind,
            OutcomeKind::kReturned);
}

TEST(SessionInnerRulesTest, TooManyPatternsAreRefused) {
  std::string rules = "rules:\n";
  for (int i = 0; i < 65; ++i) {
    absl::StrAppend(&rules, "  - { id: r", i, ", event: function, function: f",
                    i, ", when: 'true', action: log }\n");
  }
  const absl::StatusOr<std::unique_ptr<Session>> session = Session::Create(
      TheEngine(), HostModules(), ConfigOf(kParser, PolicyWith(rules)));
  EXPECT_EQ(session.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(session.status().message()),
              HasSubstr("the policies watch too many functions"));
}

TEST(SessionInstantiateTest, AMissingImportIsNamed) {
  const auto session = MakeSession(ConfigOf(
      R"((module (import "net" "send" (func)) (import "a" "b" (func))))",
      OpenPolicy()));
  const absl::Status status = session->Instantiate().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(ReasonOf(status), reason::kMissingImport);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("unknown import: net.send, a func"));
  EXPECT_EQ(ReasonOf(CallExport(*session, "x").status()), reason::kStoreEnded);
}

TEST(SessionInstantiateTest, AnImportOfAnotherTypeIsRefused) {
  const auto session = MakeSession(ConfigOf(
      R"((module
        (import "wasi_snapshot_preview1" "sched_yield" (func (param i64)))))",
      OpenPolicy()));
  EXPECT_EQ(ReasonOf(session->Instantiate().status()), reason::kImportType);
}

TEST(SessionInstantiateTest, AStartFunctionRunsUnderTheBudgets) {
  const auto session =
      MakeSession(ConfigOf("(module (func $s (loop br 0)) (start $s))",
                           PolicyWith("budgets: { wall_per_call: 20ms }\n")));
  const absl::StatusOr<Outcome> outcome = session->Instantiate();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->kind, OutcomeKind::kBudgetExceeded);
  EXPECT_FALSE(outcome->store_usable);
  EXPECT_EQ(ReasonOf(CallExport(*session, "x").status()), reason::kStoreEnded);
}

TEST(SessionInstantiateTest, AStartFunctionThatTrapsLeavesNothing) {
  const auto session = MakeSession(
      ConfigOf("(module (func $s unreachable) (start $s))", OpenPolicy()));
  const absl::StatusOr<Outcome> outcome = session->Instantiate();
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->kind, OutcomeKind::kTrapped);
  EXPECT_EQ(outcome->trap->code, "unreachable");
  EXPECT_FALSE(outcome->store_usable);
}

// Tells when a guest runs: it has called the host function test.mark.
class MarkModule final : public HostModule {
 public:
  explicit MarkModule(std::function<void()> on_mark)
      : on_mark_(std::move(on_mark)) {}
  absl::string_view name() const override { return "test"; }
  std::vector<std::pair<std::string, HostDefinition>> Functions(
      const HostModuleFacts&) const override {
    HostDefinition mark;
    mark.body = [on_mark = on_mark_](Caller&, absl::Span<const RawValue>,
                                     absl::Span<RawValue>) -> ErrorRef {
      on_mark();
      return nullptr;
    };
    return {{"mark", mark}};
  }

 private:
  const std::function<void()> on_mark_;
};

constexpr char kMarksAndSpins[] = R"((module
  (import "test" "mark" (func $mark))
  (func (export "spin") (call $mark) (loop br 0))
  (func (export "mark") (call $mark))))";

HostModules WithMark(std::function<void()> on_mark) {
  HostModules modules;
  EXPECT_TRUE(
      modules.Register(std::make_unique<MarkModule>(std::move(on_mark))).ok());
  return modules;
}

TEST(SessionThreadsTest, KillReachesAGuestThatRuns) {
  absl::Notification running;
  const HostModules modules = WithMark([&] { running.Notify(); });
  const auto session =
      StartSession(ConfigOf(kMarksAndSpins, OpenPolicy()), modules);
  absl::StatusOr<Outcome> outcome;
  std::thread guest([&] { outcome = CallExport(*session, "spin"); });
  running.WaitForNotification();
  EXPECT_EQ(session->facts().state, SessionState::kRunning);
  session->Kill("enough");
  session->Kill("again");
  guest.join();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->kind, OutcomeKind::kKilled);
  EXPECT_EQ(outcome->trap->message, "enough");
  EXPECT_FALSE(outcome->store_usable);
  EXPECT_EQ(session->facts().state, SessionState::kKilled);
  EXPECT_EQ(session->facts().end_reason, "enough");
  const absl::Status status = CallExport(*session, "mark").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(ReasonOf(status), reason::kStoreEnded);
  EXPECT_EQ(
      ReasonOf(session->ReadMemory("", 0, 1, absl::InfiniteFuture()).status()),
      reason::kStoreEnded);
}

TEST(SessionThreadsTest, CancelEndsOneCallAndNotTheStore) {
  std::atomic<int> marks{0};
  absl::Notification running;
  const HostModules modules = WithMark([&] {
    if (++marks == 1) running.Notify();
  });
  const auto session =
      StartSession(ConfigOf(kMarksAndSpins, OpenPolicy()), modules);
  const std::shared_ptr<CallTicket> ticket = Session::NewTicket();
  absl::StatusOr<Outcome> outcome;
  std::thread guest([&] {
    CallRequest request;
    request.export_name = "spin";
    outcome = session->Call(request, ticket);
  });
  running.WaitForNotification();
  session->CancelCall(ticket);
  guest.join();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->kind, OutcomeKind::kKilled);
  EXPECT_TRUE(outcome->store_usable);
  session->CancelCall(ticket);  // whose call has ended: nobody's
  const absl::StatusOr<Outcome> next = CallExport(*session, "mark");
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->kind, OutcomeKind::kReturned);
}

TEST(SessionThreadsTest, WhoWaitsTooLongGivesUp) {
  absl::Notification running;
  const HostModules modules = WithMark([&] { running.Notify(); });
  SessionConfig config = ConfigOf(kMarksAndSpins, OpenPolicy());
  config.waiting_max = 1;
  const auto session = StartSession(std::move(config), modules);
  std::thread guest([&] { CallExport(*session, "spin").IgnoreError(); });
  running.WaitForNotification();
  CallRequest request;
  request.export_name = "mark";
  request.deadline = absl::Now() + absl::Milliseconds(1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(session->Call(request).status()));
  session->Kill("end of the test");
  guest.join();
}

TEST(SessionMemoryTest, ReadsAndWritesInsideBounds) {
  const auto session = StartSession(ConfigOf(kAdder, OpenPolicy()));
  const absl::Time never = absl::InfiniteFuture();
  const uint64_t size = kWasmPageBytes;
  EXPECT_EQ(*session->WriteMemory("", 10, "hello", never), size);
  EXPECT_EQ(session->ReadMemory("memory", 9, 7, never)->bytes,
            std::string("\0hello\0", 7));
  EXPECT_EQ(session->ReadMemory("", size, 0, never)->bytes, "");
  EXPECT_TRUE(session->WriteMemory("", size - 1, "x", never).ok());

  struct Row {
    uint64_t address;
    uint64_t length;
    const char* reason;
  };
  for (const Row& row : std::vector<Row>{
           {size, 1, reason::kOutOfBounds},
           {size - 1, 2, reason::kOutOfBounds},
           {size + 1, 0, reason::kOutOfBounds},
           {~uint64_t{0}, 1, reason::kOutOfBounds},
           {~uint64_t{0}, Session::kMemoryAccessBytesMax, reason::kOutOfBounds},
           {0, Session::kMemoryAccessBytesMax, reason::kOutOfBounds},
           {0, Session::kMemoryAccessBytesMax + 1, reason::kBadArgument},
           {0, ~uint64_t{0}, reason::kBadArgument},
       }) {
    EXPECT_EQ(
        ReasonOf(
            session->ReadMemory("", row.address, row.length, never).status()),
        row.reason)
        << row.address << " " << row.length;
  }
  // Nothing is written unless all is.
  EXPECT_EQ(ReasonOf(session->WriteMemory("", size - 2, "abc", never).status()),
            reason::kOutOfBounds);
  EXPECT_EQ(session->ReadMemory("", size - 2, 2, never)->bytes,
            std::string("\0x", 2));
  EXPECT_EQ(ReasonOf(session->ReadMemory("nope", 0, 1, never).status()),
            reason::kExportNotFound);
}

TEST(SessionMemoryTest, TheOnlyExportedMemoryNeedsNoName) {
  const auto session = StartSession(
      ConfigOf(R"((module (memory (export "mem") 1)))", OpenPolicy()));
  EXPECT_TRUE(session->ReadMemory("", 0, 1, absl::InfiniteFuture()).ok());
  const auto without = StartSession(ConfigOf("(module)", OpenPolicy()));
  EXPECT_EQ(
      ReasonOf(without->ReadMemory("", 0, 1, absl::InfiniteFuture()).status()),
      reason::kExportNotFound);
}

TEST(SessionStubTest, StubsAnswerZeros) {
  SessionConfig config = ConfigOf(R"((module
    (import "env" "f" (func $f (param i32) (result i64)))
    (func (export "run") (result i64) (call $f (i32.const 7)))))",
                                  OpenPolicy());
  config.stubs = {{"env", "f"}, {"env", "unused"}};
  const auto session = StartSession(std::move(config));
  EXPECT_THAT(session->warnings(),
              ElementsAre(HasSubstr("the module does not import it")));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "run");
  ASSERT_TRUE(outcome.ok());
  EXPECT_THAT(outcome->results, ElementsAre(Value::I64(int64_t{0})));
}

TEST(SessionStubTest, ThePolicyHasTheLastWordOnStubs) {
  SessionConfig config = ConfigOf(R"((module
    (import "env" "f" (func $f)) (func (export "run") (call $f))))",
                                  PolicyWith(""));
  config.stubs = {{"env", "f"}};
  const auto session = StartSession(std::move(config));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "run");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->kind, OutcomeKind::kPolicyTrapped);
}

TEST(SessionStubTest, WhatTheHostDefinesHasNoStub) {
  SessionConfig config = ConfigOf(kRandom, OpenPolicy());
  config.stubs = {{"wasi_snapshot_preview1", "random_get"}};
  EXPECT_EQ(
      ReasonOf(Session::Create(TheEngine(), {}, std::move(config)).status()),
      reason::kBadArgument);
  SessionConfig memory =
      ConfigOf(R"((module (import "env" "memory" (memory 1))))", OpenPolicy());
  memory.stubs = {{"env", "memory"}};
  EXPECT_EQ(
      ReasonOf(Session::Create(TheEngine(), {}, std::move(memory)).status()),
      reason::kBadArgument);
}

constexpr char kWrites[] = R"((module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 40)
  (data (i32.const 16) "out")
  (func $to (param $fd i32) (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func (export "out") (result i32)
    (call $to (i32.const 1) (i32.const 16) (i32.const 3)))
  (func (export "err") (result i32)
    (call $to (i32.const 2) (i32.const 16) (i32.const 2)))
  (func (export "flood") (result i32)
    (call $to (i32.const 1) (i32.const 64) (i32.const 2000000)))))";

TEST(SessionOutputTest, IsHandedOutWithEachCall) {
  const auto session = StartSession(ConfigOf(kWrites, OpenPolicy()));
  EXPECT_EQ(CallExport(*session, "out")->stdout_bytes, "out");
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "err");
  EXPECT_EQ(outcome->stdout_bytes, "");
  EXPECT_EQ(outcome->stderr_bytes, "ou");
}

TEST(SessionOutputTest, IsCutAndTheRestCounted) {
  const auto session = StartSession(ConfigOf(kWrites, OpenPolicy()));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "flood");
  EXPECT_EQ(outcome->stdout_bytes.size(), Session::kOutcomeOutputBytesMax);
  EXPECT_EQ(outcome->output_omitted_bytes,
            2'000'000 - Session::kOutcomeOutputBytesMax);
}

TEST(SessionOutputTest, GoesToTheSinkAsItComes) {
  class Sink final : public OutputSink {
   public:
    bool OnOutput(OutputStream stream, absl::string_view bytes) override {
      absl::StrAppend(&text, stream == OutputStream::kStdout ? "1" : "2",
                      bytes);
      return text.size() < 8;
    }
    std::string text;
  };
  Sink sink;
  SessionConfig config = ConfigOf(kWrites, OpenPolicy());
  config.output = &sink;
  const auto session = StartSession(std::move(config));
  EXPECT_EQ(CallExport(*session, "out")->stdout_bytes, "");
  EXPECT_EQ(CallExport(*session, "err")->results[0].u32(), 0u);
  // Nobody wants it any more: EPIPE.
  EXPECT_EQ(CallExport(*session, "out")->results[0].u32(), 64u);
  EXPECT_EQ(sink.text, "1out2ou1out");
}

// A fake network with a back end of its own in each Store.
class NetModule final : public HostModule {
 public:
  explicit NetModule(std::vector<std::string>* sent) : sent_(sent) {}
  absl::string_view name() const override { return "net"; }
  std::vector<std::pair<std::string, HostDefinition>> Functions(
      const HostModuleFacts& facts) const override {
    HostDefinition send;
    send.type = FuncType{{ValType::kI32, ValType::kI32}, {ValType::kI32}};
    ArgSpec data;
    data.name = "data";
    data.index = 0;
    data.kind = ArgKind::kBytes;
    data.len_index = 1;
    send.spec.args = {data};
    send.spec.errno_result = true;
    send.body = [sent = sent_, id = facts.store_id](
                    Caller& caller, absl::Span<const RawValue> args,
                    absl::Span<RawValue> results) -> ErrorRef {
      std::string bytes(args[1].u32(), '\0');
      std::vector<uint8_t> copy(bytes.size());
      if (caller.Read(args[0].u32(), absl::MakeSpan(copy)) !=
          Caller::Access::kOk) {
        results[0] = RawValue::I32(21);
        return nullptr;
      }
      sent->push_back(
          absl::StrCat(id, ":", std::string(copy.begin(), copy.end())));
      results[0] = RawValue::I32(0);
      return nullptr;
    };
    return {{"send", send}};
  }

 private:
  std::vector<std::string>* const sent_;
};

constexpr char kSends[] = R"((module
  (import "net" "send" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "hello")
  (func (export "run") (param i32) (result i32)
    (call $send (i32.const 8) (local.get 0)))))";

TEST(HostModuleTest, PoliciesReachTheArgumentsThatItDescribes) {
  std::vector<std::string> sent;
  HostModules modules;
  ASSERT_TRUE(modules.Register(std::make_unique<NetModule>(&sent)).ok());
  EXPECT_TRUE(modules.Defines("net", "send"));
  EXPECT_FALSE(modules.Defines("net", "recv"));
  EXPECT_THAT(modules.ImportNames(), ElementsAre("net.send"));
  const auto session = StartSession(
      ConfigOf(kSends,
               PolicyWith("imports:\n"
                          "  - import: net.send\n"
                          "    action: allow\n"
                          "    args: [{ name: data, max_bytes: 5 }]\n")),
      modules);
  EXPECT_EQ(CallExport(*session, "run", {Value::I32(5)})->results[0].u32(), 0u);
  EXPECT_THAT(sent, ElementsAre("s-test:hello"));
  // One byte over max_bytes is denied with E2BIG, and nothing is sent.
  const absl::StatusOr<Outcome> denied =
      CallExport(*session, "run", {Value::I32(6)});
  EXPECT_EQ(denied->results[0].u32(), 1u);
  EXPECT_EQ(denied->verdicts.size(), 1u);
  EXPECT_EQ(sent.size(), 1u);
}

TEST(HostModuleTest, NamesAreTakenOnce) {
  std::vector<std::string> sent;
  HostModules modules;
  ASSERT_TRUE(modules.Register(std::make_unique<NetModule>(&sent)).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(
      modules.Register(std::make_unique<NetModule>(&sent))));
}

TEST(SessionPolicyTest, SeveralPoliciesApplyTogether) {
  SessionConfig config = ConfigOf(kRandom, OpenPolicy());
  config.policies.push_back(
      CompilePolicyOrDie("api_version: callgate.policy/v1\n"
                         "kind: Policy\n"
                         "metadata: { name: strict }\n"));
  const auto session = StartSession(std::move(config));
  EXPECT_EQ(session->policy_names().size(), 2u);
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "run");
  ASSERT_EQ(outcome->verdicts.size(), 1u);
  EXPECT_EQ(outcome->verdicts[0].policy, "strict");
}

// On an engine, with the ends of calls, and with another Session of the tenant.
TEST(SessionPolicyTest, RulesRememberCallsAndWhatTheyCameTo) {
  std::vector<std::string> sent;
  HostModules modules;
  ASSERT_TRUE(modules.Register(std::make_unique<NetModule>(&sent)).ok());
  policy::RuleStates states;
  const PolicyRef policy = PolicyWith(R"(
imports: [ { import: net.send, action: allow } ]
temporal:
  - id: failures
    count: { when: 'call.import == "net.send" && result.errno == 21', within: 600s, gte: 2 }
    action: trap
  - id: sends
    count: { when: 'call.import == "net.send"', within: 600s, gte: 5 }
    scope: tenant
    action: deny
    guest_errno: 7
)");
  const auto start = [&](const std::string& tenant) {
    SessionConfig config = ConfigOf(kSends, policy);
    config.tenant = tenant;
    config.rule_states = &states;
    return StartSession(std::move(config), modules);
  };
  const auto a = start("acme");
  const auto b = start("acme");
  const auto stranger = start("globex");
  const auto send = [](Session& session, int32_t bytes) {
    const absl::StatusOr<Outcome> outcome =
        CallExport(session, "run", {Value::I32(static_cast<uint32_t>(bytes))});
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    if (outcome->kind != OutcomeKind::kReturned) {
      return absl::StrCat("ended by ", outcome->verdicts[0].rule);
    }
    return absl::StrCat(outcome->results[0].u32());
  };
  // Past the end of memory, which the host function finds.
  EXPECT_EQ(send(*a, 65'536), "21");
  EXPECT_EQ(send(*a, 5), "0");
  EXPECT_EQ(send(*a, 65'536), "ended by failures");
  EXPECT_EQ(send(*b, 5), "0");
  EXPECT_EQ(send(*b, 5), "7");
  EXPECT_EQ(send(*a, 5), "7");
  EXPECT_EQ(send(*stranger, 5), "0");
  EXPECT_EQ(sent.size(), 3u);
  EXPECT_EQ(states.Uses().size(), 2u);
}

TEST(SessionPolicyTest, EqualVerdictsAreCounted) {
  const auto session = StartSession(ConfigOf(R"((module
    (import "wasi_snapshot_preview1" "sched_yield" (func $y (result i32)))
    (func (export "run") (local $i i32)
      (loop (drop (call $y))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $i) (i32.const 1000)))))))",
                                             PolicyWith("")));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "run");
  ASSERT_EQ(outcome->verdicts.size(), 1u);
  EXPECT_EQ(outcome->verdicts[0].count, 1'000u);
  EXPECT_EQ(outcome->verdicts_omitted, 0u);
  // The next call begins anew.
  EXPECT_EQ(CallExport(*session, "run")->verdicts[0].count, 1'000u);
}

TEST(PermissivePolicyTest, AllowsWasiAndTheStubsAlone) {
  const std::vector<StubImport> stubs = {{"bench", "start"},
                                         {"a.b", "c\"d\\e"}};
  const PolicyRef policy = CompilePolicyOrDie(PermissivePolicyYaml(stubs));
  ASSERT_NE(policy, nullptr);
  for (const StubImport& stub : stubs) {
    ASSERT_NE(policy->FindImport(stub.module, stub.name), nullptr);
    EXPECT_TRUE(policy->FindImport(stub.module, stub.name)->allowed);
  }
  EXPECT_TRUE(
      policy->FindImport("wasi_snapshot_preview1", "fd_write")->allowed);
  EXPECT_EQ(policy->FindImport("net", "send"), nullptr);
}

TEST(SessionDirectoryTest, AMissingOneIsTheCallersFault) {
  SessionConfig config = ConfigOf("(module)", OpenPolicy());
  config.dirs = {{"/nonexistent", "/data", false, ""}};
  EXPECT_EQ(
      ReasonOf(Session::Create(TheEngine(), {}, std::move(config)).status()),
      reason::kBadArgument);
}

TEST(SessionDirectoryTest, OneThatLeavesItsBoundsIsRefused) {
  SessionConfig config = ConfigOf("(module)", OpenPolicy());
  config.dirs = {{"/proc/self/..", "/data", false, "/proc/self"}};
  EXPECT_EQ(
      ReasonOf(Session::Create(TheEngine(), {}, std::move(config)).status()),
      reason::kDirNotAllowed);
}

// Keeps what it is told.
class Recorder final : public SessionObserver {
 public:
  void OnDecision(const policy::DecisionRecord& decision) override {
    rules.emplace_back(decision.rule);
  }
  void OnEngineFault(const policy::StoreFacts&, absl::string_view) override {}
  void OnCallEnded(const CallEnd& end) override {
    kinds.push_back(end.outcome.kind);
    allowed += end.allowed;
    for (const HostCallCount& calls : end.host_calls) {
      ran += calls.ran;
      answered += calls.answered;
      refused += calls.refused;
    }
    if (end.ended_by != nullptr) ended_by = end.ended_by->facts().rule;
  }
  std::vector<std::string> rules;
  std::vector<OutcomeKind> kinds;
  uint64_t allowed = 0;
  uint64_t ran = 0;
  uint64_t answered = 0;
  uint64_t refused = 0;
  std::string ended_by;
};

TEST(SessionObserverTest, HearsOfEveryCallAndVerdict) {
  Recorder recorder;
  SessionConfig config = ConfigOf(
      R"((module
    (import "wasi_snapshot_preview1" "sched_yield" (func $y (result i32)))
    (import "wasi_snapshot_preview1" "random_get"
      (func $r (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $e (param i32)))
    (memory (export "memory") 1)
    (func (export "run")
      (drop (call $y)) (drop (call $y))
      (drop (call $r (i32.const 0) (i32.const 1)))
      (call $e (i32.const 0)))))",
      PolicyWith("imports:\n"
                 "  - { import: wasi_snapshot_preview1.sched_yield, action: "
                 "allow }\n"
                 "  - { id: no-exit, import: wasi_snapshot_preview1.proc_exit, "
                 "action: kill_store }\n"));
  config.observer = &recorder;
  const auto session = StartSession(std::move(config));
  const absl::StatusOr<Outcome> outcome = CallExport(*session, "run");
  EXPECT_EQ(outcome->kind, OutcomeKind::kPolicyKilled);
  EXPECT_THAT(recorder.kinds,
              ElementsAre(OutcomeKind::kReturned, OutcomeKind::kPolicyKilled));
  EXPECT_THAT(recorder.rules,
              ElementsAre("default:unlisted_import", "no-exit"));
  EXPECT_EQ(recorder.allowed, 2u);
  EXPECT_EQ(recorder.ran, 2u);
  EXPECT_EQ(recorder.answered, 1u);
  EXPECT_EQ(recorder.refused, 1u);
  EXPECT_EQ(recorder.ended_by, "no-exit");
}

}  // namespace
}  // namespace callgate
