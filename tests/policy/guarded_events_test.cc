// Budgets, growths, inner functions and the calls before an alert, on Stores of
// every engine: what policies say is what happens to real modules.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/policy_hook.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/native/compile_request.h"
#include "runtime/reference/reference_engine.h"
#include "runtime/store.h"
#include "tests/support/native_engine.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using policy::Budget;
using policy::PolicyHook;
using policy::PolicyViolation;
using testing::ElementsAre;
using testing::IsEmpty;

// What decisions were, and the calls that came before the last alert.
class LineSink final : public policy::DecisionSink {
 public:
  void OnDecision(const policy::DecisionRecord& d) override {
    lines.push_back(absl::StrCat(policy::VerdictName(d.verdict), " ", d.rule));
    message = std::string(d.message);
    if (d.calls == nullptr) return;
    calls.clear();
    for (const CallRing::Call& call : d.calls->Calls()) {
      calls.push_back(
          absl::StrCat(call.function->name, "@", call.site, "=", call.result));
      ended.push_back(call.outcome != CallRing::Outcome::kRunning);
    }
  }
  void OnEngineFault(const policy::StoreFacts&,
                     absl::string_view what) override {
    ADD_FAILURE() << what;
  }

  std::vector<std::string> lines;
  std::string message;
  std::vector<std::string> calls;
  std::vector<bool> ended;
};

constexpr char kGuest[] = R"((module
  (import "net" "send" (func $send (param i32 i32) (result i32)))
  (memory (export "memory") 1 10)
  (table 1 20 funcref)
  (func (export "send") (param $times i32) (param $n i32)
    (loop $l
      (if (local.get $times) (then
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (drop (call $send (i32.const 16) (local.get $n)))
        (br $l)))))
  (func (export "grow") (param i32) (result i32)
    (memory.grow (local.get 0)))
  (func (export "grow_table") (param i32) (result i32)
    (table.grow 0 (ref.null func) (local.get 0)))
  (func $parse_header (param i32 i64) (result i32)
    (i32.add (local.get 0) (i32.wrap_i64 (local.get 1))))
  (func $parse_body (param i32) (result i32) (local.get 0))
  (func (export "parse") (param i32) (result i32)
    (i32.add (call $parse_header (local.get 0) (i64.const 2))
             (call $parse_body (local.get 0))))
  (func (export "spin") (loop $l (br $l)))
  (func $deep (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (i32.const 1)
                     (call $deep (i32.sub (local.get 0) (i32.const 1)))))
      (else (i32.const 0))))
  (func (export "deep") (param i32) (result i32) (call $deep (local.get 0))))
)";

constexpr char kOpen[] = "imports: [{import: net.send, action: allow}]\n";

enum class Which : uint8_t { kReference, kNative };

class GuardedEventsTest : public testing::TestWithParam<Which> {
 protected:
  void Start(const std::vector<std::string>& bodies) {
    std::vector<std::shared_ptr<const policy::Policy>> policies;
    for (const std::string& body : bodies) {
      policy::CompileResult compiled = policy::CompilePolicyText(
          absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                       "metadata: {name: p",
                       policies.size(), "}\n", kOpen, body),
          "p.yaml");
      ASSERT_TRUE(compiled.ok()) << compiled.problems[0].ToString();
      policies.push_back(compiled.policy);
    }
    instance_.reset();
    store_.reset();
    sink_ = LineSink();
    hook_ = std::make_unique<PolicyHook>(
        policies, policy::StoreFacts{"s", "acme", "sha256:0", "guest"},
        [] { return absl::Now(); }, sink_);
    Limits limits;
    limits.stack_bytes =
        hook_->budgets().Max(Budget::kStackBytes).value_or(limits.stack_bytes);
    store_ = std::make_unique<Store>(*engine_, limits);

    const auto bytes = AssembleWat(kGuest);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    const auto module = Module::Compile(*engine_, *bytes);
    ASSERT_TRUE(module.ok()) << module.status();
    HookOptions options;
    options.call_ring = hook_->call_ring();
    hook_->SelectFunctions([&](const FunctionFilter& filter) {
      return (*module)->FunctionsOf(filter);
    });
    ASSERT_TRUE(hook_->AddProbes(&options.probes).ok());
    ASSERT_TRUE(store_->SetCallHook(*hook_, options).ok());

    Linker linker;
    HostDefinition send;
    send.type = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
    send.spec.args = {{"data", 0, ArgKind::kBytes, 1}};
    send.spec.errno_result = true;
    send.body = [this](Caller&, absl::Span<const RawValue> args,
                       absl::Span<RawValue> results) -> ErrorRef {
      ++sent_;
      results[0] = args[1];
      return nullptr;
    };
    ASSERT_TRUE(linker.DefineFunc("net", "send", std::move(send)).ok());
    auto made = linker.Instantiate(*store_, *module, "guest");
    ASSERT_TRUE(made.ok()) << made.status();
    instance_ = made->instance;
    sent_ = 0;
  }

  CallResult Invoke(const std::string& name, std::vector<Value> args = {}) {
    CallOptions options;
    options.fuel = hook_->budgets().Max(Budget::kFuelPerCall);
    options.cpu = hook_->budgets().cpu_per_call();
    PolicyHook::Arming arming;
    arming.stack =
        GetParam() == Which::kNative ? Budget::kStackBytes : Budget::kCallDepth;
    hook_->ArmCall(arming);
    auto result = instance_->GetFunc(name)->Call(args, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : CallResult{};
  }

  static const PolicyViolation* ViolationOf(const CallResult& result) {
    if (!result.trap) return nullptr;
    return dynamic_cast<const PolicyViolation*>(result.trap->cause().get());
  }

  std::unique_ptr<Engine> MakeEngine() {
    if (GetParam() == Which::kReference) return NewReferenceEngine();
    native::CompileRequest request;
    request.level = native::Level::kBaseline;
    request.fuel = true;
    return NewInProcessNativeEngine(EngineOptions(), request);
  }

  const std::unique_ptr<Engine> engine_ = MakeEngine();
  LineSink sink_;
  std::unique_ptr<PolicyHook> hook_;
  std::unique_ptr<Store> store_;
  std::optional<Instance> instance_;
  uint64_t sent_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Engines, GuardedEventsTest,
                         testing::Values(Which::kReference, Which::kNative),
                         [](const auto& row) {
                           return row.param == Which::kNative ? "native"
                                                              : "reference";
                         });

// --- Prices ------------------------------------------------------------------

TEST_P(GuardedEventsTest, HostCallsArePaidInFuel) {
  Start({""});
  const uint64_t free_of_charge =
      Invoke("send", {Value::I32(10), Value::I32(3)}).usage.fuel;
  Start(
      {"budgets: {host_call_price: [{import: net.send, base: 100, per_byte: "
       "1.5}]}\n"});
  // 4.5 for the bytes is 5.
  EXPECT_EQ(Invoke("send", {Value::I32(10), Value::I32(3)}).usage.fuel,
            free_of_charge + 10 * 105);
}

TEST_P(GuardedEventsTest, ACallThatCannotPayEndsAsTheFuelBudgetDoes) {
  Start(
      {"budgets: {fuel_per_call: 1000, host_call_price: [{import: '*', base: "
       "300}]}\n"});
  const CallResult result = Invoke("send", {Value::I32(4), Value::I32(1)});
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kOutOfFuel);
  EXPECT_EQ(sent_, 3u);
  EXPECT_EQ(result.usage.fuel, 1000u);
  EXPECT_THAT(sink_.lines, ElementsAre("trap budget:fuel_per_call"));
  EXPECT_TRUE(Invoke("send", {Value::I32(3), Value::I32(1)}).returned());

  Start(
      {"budgets: {fuel_per_call: 1000, on_exceed: kill_store, "
       "host_call_price: [{import: '*', base: 300}]}\n"});
  EXPECT_NE(ViolationOf(Invoke("send", {Value::I32(4), Value::I32(1)})),
            nullptr);
  EXPECT_NE(hook_->latched(), nullptr);
}

// --- Times and stacks --------------------------------------------------------

TEST_P(GuardedEventsTest, ProcessorTimeIsBudgeted) {
  Start({"budgets: {cpu_per_call: 20ms}\n", "budgets: {cpu_per_call: 2h}\n"});
  const CallResult result = Invoke("spin");
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kProcessorTimeExceeded);
  EXPECT_GE(result.usage.cpu, absl::Milliseconds(20));
  EXPECT_THAT(sink_.lines, ElementsAre("trap budget:cpu_per_call"));
}

TEST_P(GuardedEventsTest, ThrottledTimeIsNotProcessorTime) {
  Start(
      {"budgets: {cpu_per_call: 200ms}\nrules: [{id: slow, when: 'true', "
       "action: throttle, throttle: {base_delay: 50ms}}]\n"});
  const absl::Time begin = absl::Now();
  const CallResult result = Invoke("send", {Value::I32(6), Value::I32(1)});
  EXPECT_TRUE(result.returned()) << result.trap->message();
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(300));
  EXPECT_LT(result.usage.cpu, absl::Milliseconds(200));
}

TEST_P(GuardedEventsTest, TheStackIsBudgetedInBytes) {
  if (GetParam() == Which::kReference) {
    GTEST_SKIP() << "the reference engine bounds frames";
  }
  Start(
      {"budgets: {stack_bytes: 262144}\n", "budgets: {stack_bytes: 16384}\n"});
  EXPECT_TRUE(Invoke("deep", {Value::I32(20)}).returned());
  const CallResult result = Invoke("deep", {Value::I32(2000)});
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kCallStackExhausted);
  EXPECT_THAT(sink_.lines, ElementsAre("trap budget:stack_bytes"));
  Start({"budgets: {stack_bytes: 262144}\n"});
  EXPECT_TRUE(Invoke("deep", {Value::I32(2000)}).returned());
}

// --- Growths -----------------------------------------------------------------

TEST_P(GuardedEventsTest, GrowthIsJudged) {
  struct Row {
    const char* action;
    bool grows;
    const char* line;  // of the second growth
  };
  const Row rows[] = {
      {"action: alert", true, "alert r"},
      {"action: deny", false, "deny r"},
      {"mode: audit, action: trap", true, "allow r"},
  };
  for (const Row& row : rows) {
    Start(
        {absl::StrCat("rules: [{id: r, event: memory_grow, when: "
                      "'store.memory_bytes > 131072', ",
                      row.action, "}]\n")});
    EXPECT_THAT(Invoke("grow", {Value::I32(1)}).values,
                ElementsAre(Value::I32(1)));
    EXPECT_THAT(sink_.lines, IsEmpty()) << row.action;
    EXPECT_THAT(Invoke("grow", {Value::I32(1)}).values,
                ElementsAre(Value::I32(row.grows ? 2 : -1)));
    EXPECT_THAT(sink_.lines, ElementsAre(row.line)) << row.action;
  }
}

TEST_P(GuardedEventsTest, GrowthCanEndTheCallOrTheStore) {
  Start(
      {"rules: [{id: r, event: table_grow, when: 'grow.requested > 2', "
       "action: trap}, {id: k, event: table_grow, when: 'grow.to > 15', "
       "action: kill_store}]\n"});
  EXPECT_THAT(Invoke("grow_table", {Value::I32(2)}).values,
              ElementsAre(Value::I32(1)));
  const CallResult trapped = Invoke("grow_table", {Value::I32(3)});
  const PolicyViolation* violation = ViolationOf(trapped);
  ASSERT_NE(violation, nullptr);
  EXPECT_EQ(violation->facts().rule, "r");
  // The Store is as it was.
  EXPECT_THAT(Invoke("grow_table", {Value::I32(1)}).values,
              ElementsAre(Value::I32(3)));
  EXPECT_NE(ViolationOf(Invoke("grow_table", {Value::I32(12)})), nullptr);
  ASSERT_NE(hook_->latched(), nullptr);
  EXPECT_EQ(ViolationOf(Invoke("grow", {Value::I32(0)})),
            hook_->latched().get());
  EXPECT_THAT(sink_.lines, ElementsAre("trap r", "kill_store k"));
}

TEST_P(GuardedEventsTest, GrowthIsSlowedDown) {
  Start(
      {"rules: [{id: r, event: memory_grow, when: 'true', action: throttle, "
       "throttle: {base_delay: 30ms}}]\n"});
  const absl::Time begin = absl::Now();
  EXPECT_THAT(Invoke("grow", {Value::I32(1)}).values,
              ElementsAre(Value::I32(1)));
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(30));
}

// --- Functions of the guest's own --------------------------------------------

TEST_P(GuardedEventsTest, InnerFunctionsAreWatched) {
  Start(
      {"rules: [{id: all, event: function, function: 'parse_*', when: "
       "'true', action: log, message: '${call.name} of ${call.caller} got "
       "${args.p0}'}, {id: big, event: function, function: parse_body, when: "
       "'args.p0 > 100', action: trap}]\n"});
  EXPECT_THAT(hook_->pending_rules(), IsEmpty());
  const CallResult small = Invoke("parse", {Value::I32(5)});
  ASSERT_TRUE(small.returned()) << small.trap->message();
  EXPECT_THAT(small.values, ElementsAre(Value::I32(12)));
  EXPECT_THAT(sink_.lines, ElementsAre("log all", "log all"));
  EXPECT_EQ(sink_.message, "\"parse_body\" of \"parse\" got 5");
  const CallResult big = Invoke("parse", {Value::I32(101)});
  const PolicyViolation* violation = ViolationOf(big);
  ASSERT_NE(violation, nullptr);
  EXPECT_EQ(violation->facts().rule, "big");
  EXPECT_TRUE(Invoke("parse", {Value::I32(100)}).returned());
}

TEST_P(GuardedEventsTest, ARuleThatNoFunctionFitsIsPending) {
  Start(
      {"rules: [{id: gone, event: function, function: 'decode_*', when: "
       "'true', action: trap}, {id: r, event: function, function: '#4', when: "
       "'call.func_index == 4 && args.p1 == 2', action: log}]\n"});
  ASSERT_EQ(hook_->pending_rules().size(), 1u);
  EXPECT_EQ(hook_->pending_rules()[0].rule->id, "gone");
  EXPECT_TRUE(Invoke("parse", {Value::I32(5)}).returned());
  EXPECT_THAT(sink_.lines, ElementsAre("log r"));
}

TEST_P(GuardedEventsTest, AnInnerFunctionCanEndTheStore) {
  Start(
      {"rules: [{id: r, event: function, function: parse_body, when: 'true', "
       "action: kill_store}]\n"});
  EXPECT_NE(ViolationOf(Invoke("parse", {Value::I32(1)})), nullptr);
  EXPECT_EQ(ViolationOf(Invoke("parse", {Value::I32(1)})),
            hook_->latched().get());
}

// --- The calls before an alert -----------------------------------------------

TEST_P(GuardedEventsTest, AnAlertCarriesTheLastCalls) {
  Start({"rules: [{id: r, when: 'store.calls == 102', action: alert}]\n"});
  EXPECT_TRUE(Invoke("send", {Value::I32(100), Value::I32(7)}).returned());
  EXPECT_THAT(sink_.calls, IsEmpty());
  EXPECT_TRUE(Invoke("send", {Value::I32(3), Value::I32(9)}).returned());
  EXPECT_THAT(sink_.lines, ElementsAre("alert r"));
  ASSERT_EQ(sink_.calls.size(), 64u);
  for (size_t i = 0; i < 61; ++i) EXPECT_EQ(sink_.calls[i], "send@1=7");
  EXPECT_EQ(sink_.calls[61], "send@1=9");
  EXPECT_EQ(sink_.calls[62], "send@1=9");
  // The one that is being judged.
  EXPECT_EQ(sink_.calls[63], "send@1=0");
  EXPECT_TRUE(sink_.ended[62]);
  EXPECT_FALSE(sink_.ended[63]);
}

TEST_P(GuardedEventsTest, WithoutAnythingToAlertNoCallIsNoted) {
  Start({"rules: [{id: r, when: 'true', action: log}]\n"});
  EXPECT_EQ(hook_->call_ring(), nullptr);
  EXPECT_TRUE(Invoke("send", {Value::I32(1), Value::I32(1)}).returned());
  EXPECT_THAT(sink_.calls, IsEmpty());
}

}  // namespace
}  // namespace callgate
