// Policies that are replaced under a Store that lives, on the engine that
// programs use: what a reload reaches, and from when on.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "runtime/module.h"
#include "server/error_reason.h"
#include "server/host_module.h"
#include "server/session.h"
#include "tests/support/native_engine.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const Engine& TheEngine() {
  static const Engine* const engine =
      NewInProcessNativeEngine(EngineOptions(), native::CompileRequest())
          .release();
  return *engine;
}

std::shared_ptr<const policy::Policy> PolicyWith(absl::string_view body) {
  const policy::CompileResult compiled = policy::CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: { name: test }\n"
                   "defaults: { unlisted_import: allow }\n",
                   body),
      "test.yaml");
  for (const policy::Problem& problem : compiled.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  return compiled.policy;
}

SessionConfig ConfigOf(absl::string_view wat, absl::string_view policy) {
  const absl::StatusOr<std::vector<uint8_t>> bytes = AssembleWat(wat);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  SessionConfig config;
  config.store_id = "s-test";
  config.module_digest = "sha256:test";
  admission::ModuleLimits limits;
  limits.tables = 2;
  config.module = *Module::Compile(TheEngine(), *bytes, limits);
  config.policies = {PolicyWith(policy)};
  return config;
}

std::unique_ptr<Session> Start(SessionConfig config,
                               const HostModules& modules = {}) {
  absl::StatusOr<std::unique_ptr<Session>> session =
      Session::Create(TheEngine(), modules, std::move(config));
  EXPECT_TRUE(session.ok()) << session.status();
  const absl::StatusOr<Outcome> outcome = (*session)->Instantiate();
  EXPECT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->kind, OutcomeKind::kReturned);
  return *std::move(session);
}

Outcome Call(Session& session, absl::string_view name,
             std::vector<Value> args = {}) {
  CallRequest request;
  request.export_name = std::string(name);
  request.args = std::move(args);
  const absl::StatusOr<Outcome> outcome = session.Call(request);
  EXPECT_TRUE(outcome.ok()) << outcome.status();
  return *outcome;
}

int32_t CallForInt(Session& session, absl::string_view name,
                   std::vector<Value> args = {}) {
  const Outcome outcome = Call(session, name, std::move(args));
  EXPECT_EQ(outcome.kind, OutcomeKind::kReturned);
  EXPECT_EQ(outcome.results.size(), 1u);
  return outcome.results[0].i32();
}

constexpr char kGrower[] = R"((module
  (import "wasi_snapshot_preview1" "fd_close"
    (func $close (param i32) (result i32)))
  (memory (export "memory") 1)
  (table $a 10 funcref)
  (table $b 10 funcref)
  (func (export "pages") (param i32) (result i32)
    (memory.grow (local.get 0)))
  (func (export "a") (param i32) (result i32)
    (table.grow $a (ref.null func) (local.get 0)))
  (func (export "b") (param i32) (result i32)
    (table.grow $b (ref.null func) (local.get 0)))
  (func $down (export "down") (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 0))
      (else (i32.add (i32.const 1)
                     (call $down (i32.sub (local.get 0) (i32.const 1)))))))))";

struct BudgetRow {
  std::string name;
  std::string narrow;
  std::string wide;
  std::string call;
  int32_t arg = 0;
};

class WiderBudgets : public testing::TestWithParam<BudgetRow> {};

// A Store that lives gets what a reload gives, and loses what one takes.
TEST_P(WiderBudgets, ReachAStoreThatLives) {
  const BudgetRow& row = GetParam();
  const auto session = Start(ConfigOf(kGrower, row.narrow));
  // Whether the guest got what it asked for.
  const auto gets = [&] {
    const Outcome outcome = Call(*session, row.call, {Value::I32(row.arg)});
    return outcome.kind == OutcomeKind::kReturned &&
           outcome.results[0].i32() >= 0;
  };
  EXPECT_FALSE(gets());
  EXPECT_THAT(session->ReplacePolicies({PolicyWith(row.wide)}), IsEmpty());
  EXPECT_TRUE(gets());
  EXPECT_THAT(session->ReplacePolicies({PolicyWith(row.narrow)}), IsEmpty());
  EXPECT_FALSE(gets());
  // Without a budget there are the runtime's own limits again.
  EXPECT_THAT(session->ReplacePolicies({PolicyWith("")}), IsEmpty());
  EXPECT_TRUE(gets());
}

INSTANTIATE_TEST_SUITE_P(
    Rows, WiderBudgets,
    testing::ValuesIn(std::vector<BudgetRow>{
        {"memory", "budgets: { memory_bytes_total: 131072 }",
         "budgets: { memory_bytes_total: 1048576 }", "pages", 3},
        // The pages that the row above would take and the tables' bytes.
        {"table", "budgets: { table_elements_total: 22 }",
         "budgets: { table_elements_total: 300 }", "a", 40},
        {"bytes_of_a_table", "budgets: { memory_bytes_total: 66000 }",
         "budgets: { memory_bytes_total: 1048576 }", "a", 100},
        {"stack", "budgets: { stack_bytes: 4096 }",
         "budgets: { stack_bytes: 1048576 }", "down", 2000},
    }),
    [](const auto& row) { return row.param.name; });

constexpr char kOpener[] = R"((module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) ".")
  (func (export "open") (result i32)
    (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1)
                (i32.const 2) (i64.const 0) (i64.const 0) (i32.const 0)
                (i32.const 16)))))";

TEST(ReloadTest, HandlesAreGivenAndTaken) {
  SessionConfig config = ConfigOf(kOpener, "budgets: { open_handles: 1 }");
  config.dirs = {{testing::TempDir(), "/data", true, ""}};
  const auto session = Start(std::move(config));
  constexpr int32_t kMfile = 33;
  EXPECT_EQ(CallForInt(*session, "open"), 0);
  EXPECT_EQ(CallForInt(*session, "open"), kMfile);
  session->ReplacePolicies({PolicyWith("budgets: { open_handles: 3 }")});
  EXPECT_EQ(CallForInt(*session, "open"), 0);
  EXPECT_EQ(CallForInt(*session, "open"), 0);
  const Outcome refused = Call(*session, "open");
  EXPECT_EQ(refused.results[0].i32(), kMfile);
  ASSERT_EQ(refused.verdicts.size(), 1u);
  EXPECT_EQ(refused.verdicts[0].rule, "budget:open_handles");
  // What is open stays open, and there is no more of it.
  session->ReplacePolicies({PolicyWith("budgets: { open_handles: 2 }")});
  EXPECT_EQ(CallForInt(*session, "open"), kMfile);
}

// Has a function in which a test does what it likes.
class PauseModule final : public HostModule {
 public:
  explicit PauseModule(std::function<void()> pause)
      : pause_(std::move(pause)) {}
  absl::string_view name() const override { return "env"; }
  std::vector<std::pair<std::string, HostDefinition>> Functions(
      const HostModuleFacts&) const override {
    HostDefinition pause;
    pause.body = [this](Caller&, absl::Span<const RawValue>,
                        absl::Span<RawValue>) -> ErrorRef {
      pause_();
      return nullptr;
    };
    return {{"pause", pause}};
  }

 private:
  const std::function<void()> pause_;
};

constexpr char kGrowsAfterAPause[] = R"((module
  (import "env" "pause" (func $pause))
  (memory (export "memory") 1)
  (table $a 10 funcref)
  (table $b 10 funcref)
  (func (export "elements") (result i32)
    (drop (table.grow $a (ref.null func) (i32.const 10)))
    (call $pause)
    (table.grow $b (ref.null func) (i32.const 10)))
  (func (export "pages") (result i32)
    (call $pause)
    (memory.grow (i32.const 2)))))";

// In the middle of a call: all tables of the Store count, and not the one that
// grows, which would have 20; so do all its bytes.
TEST(ReloadTest, ATighterBudgetHoldsForACallThatRuns) {
  struct {
    const char* call;
    const char* budget;
    bool allowed;
  } kRows[] = {
      {"elements", "table_elements_total: 40", true},
      {"elements", "table_elements_total: 39", false},
      {"elements", "memory_bytes_total: 66176", true},
      {"elements", "memory_bytes_total: 66175", false},
      {"pages", "memory_bytes_total: 196928", true},
      {"pages", "memory_bytes_total: 196927", false},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(absl::StrCat(row.call, " ", row.budget));
    std::unique_ptr<Session> session;
    HostModules modules;
    const auto replace = [&] {
      session->ReplacePolicies(
          {PolicyWith(absl::StrCat("budgets: { ", row.budget, " }"))});
    };
    ASSERT_TRUE(modules.Register(std::make_unique<PauseModule>(replace)).ok());
    session = Start(ConfigOf(kGrowsAfterAPause, ""), modules);
    EXPECT_EQ(CallForInt(*session, row.call) >= 0, row.allowed);
  }
}

// --- Rules about functions that lack what they read --------------------------

constexpr char kParser[] = R"((module
  (func (export "parse_one") (param i32))
  (func (export "parse_two") (param i32 i64))
  (func (export "parse_ref") (param i32 externref))
  (func (export "other"))))";

std::string RuleOf(absl::string_view pattern, absl::string_view when) {
  return absl::StrCat("rules: [{ id: deep, event: function, function: '",
                      pattern, "', action: trap, when: '", when, "' }]\n");
}

TEST(FunctionParametersTest, ThatAFunctionLacksRefuseTheStore) {
  struct {
    std::string policy;
    // Empty: it may run.
    std::string says;
  } kRows[] = {
      {RuleOf("parse_two", "args.p1 == 1"), ""},
      {RuleOf("parse_*", "args.p0 == 1"), ""},
      {RuleOf("parse_*", "has(args.p1) && args.p1 == 1"), ""},
      {RuleOf("parse_*", "call.name == \"parse_two\" && args.p1 == 1"), ""},
      {RuleOf("nothing_*", "args.p1 == 1"), ""},
      {RuleOf("parse_*", "args.p1 == 1"),
       "rule deep cannot judge function 0 \"parse_one\" of type (i32) -> ()"},
      // A reference has no value.
      {RuleOf("parse_ref", "args.p1 == 1"),
       "rule deep cannot judge function 2 \"parse_ref\" of type (i32, "
       "externref) -> ()"},
      {RuleOf("parse_two", "args.p1 == 1.5"),
       "rule deep cannot judge function 1 \"parse_two\" of type (i32, i64) "
       "-> ()"},
      {RuleOf("#3", "args.p0 == 1"),
       "rule deep cannot judge function 3 \"other\" of type () -> ()"},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.policy);
    const absl::StatusOr<std::unique_ptr<Session>> session = Session::Create(
        TheEngine(), HostModules(), ConfigOf(kParser, row.policy));
    if (row.says.empty()) {
      EXPECT_TRUE(session.ok()) << session.status();
      continue;
    }
    ASSERT_FALSE(session.ok());
    EXPECT_EQ(ReasonOf(session.status()), reason::kPolicyRefused);
    EXPECT_THAT(std::string(session.status().message()), HasSubstr(row.says));
    EXPECT_THAT(std::string(session.status().message()),
                HasSubstr("guard it with has()"));
    EXPECT_THAT(std::string(session.status().message()),
                HasSubstr("test.yaml:"));
  }
}

// By a reload: told at once, and the function is stopped where it is entered.
TEST(FunctionParametersTest, ThatAReloadReadsInVainAreToldAndStopTheFunction) {
  const auto session = Start(ConfigOf(kParser, ""));
  const std::vector<policy::Problem> problems =
      session->ReplacePolicies({PolicyWith(RuleOf("parse_*", "args.p1 == 1"))});
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].ToString(),
              HasSubstr("rule deep cannot judge function 0"));
  EXPECT_EQ(Call(*session, "parse_one", {Value::I32(0)}).kind,
            OutcomeKind::kPolicyTrapped);
  EXPECT_EQ(
      Call(*session, "parse_two", {Value::I32(0), Value::I64(int64_t{0})}).kind,
      OutcomeKind::kReturned);
}

}  // namespace
}  // namespace callgate
