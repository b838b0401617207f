// Verdicts over the reference engine: the policy's own tests use a fake Store,
// these show that a real one does what they assume.

#include <cstdint>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/budgets.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/policy_hook.h"
#include "policy/policy_set.h"
#include "runtime/admission/module_limits.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/reference/reference_engine.h"
#include "runtime/store.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using policy::Budget;
using policy::PolicyHook;
using policy::PolicyViolation;
using policy::Verdict;
using testing::ElementsAre;
using testing::IsEmpty;

class LineSink final : public policy::DecisionSink {
 public:
  void OnDecision(const policy::DecisionRecord& d) override {
    lines.push_back(absl::StrCat(policy::VerdictName(d.verdict), " ", d.rule));
  }
  void OnEngineFault(const policy::StoreFacts&,
                     absl::string_view message) override {
    ADD_FAILURE() << message;
  }

  std::vector<std::string> lines;
};

// Calls net.send(address 16, length $n) $times times and adds the answers up;
// grows its memory; spins; and calls out and in again.
constexpr char kGuest[] = R"((module
  (import "net" "send" (func $send (param i32 i32) (result i32)))
  (import "env" "again" (func $again))
  (memory (export "memory") 1)
  (data (i32.const 16) "secret")
  (func (export "send") (param $times i32) (param $n i32) (result i32)
    (local $sum i32)
    (loop $l
      (if (local.get $times) (then
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (local.set $sum (i32.add (local.get $sum)
          (call $send (i32.const 16) (local.get $n))))
        (br $l))))
    (local.get $sum))
  (func (export "again") (call $again))
  (func (export "again_then_send") (result i32)
    (call $again) (call $send (i32.const 16) (i32.const 1)))
  (func (export "grow") (param i32) (result i32)
    (memory.grow (local.get 0)))
  (func (export "spin") (loop $l (br $l)))
  (func $deep (export "deep") (call $deep)))
)";

// A Store as an embedder makes one of policies.
class GuardedStore {
 public:
  explicit GuardedStore(std::vector<std::string> bodies) {
    for (const std::string& body : bodies) {
      policy::CompileResult compiled = policy::CompilePolicyText(
          absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                       "metadata: {name: p",
                       policies_.size(), "}\n", body),
          "p.yaml");
      EXPECT_TRUE(compiled.ok()) << compiled.problems[0].ToString();
      policies_.push_back(compiled.policy);
    }
    hook_ = std::make_unique<PolicyHook>(
        policies_, policy::StoreFacts{"s", "acme", "sha256:0", "guest"},
        [] { return absl::UnixEpoch(); }, sink_);
    Limits limits;
    limits.bytes_total = hook_->budgets()
                             .Max(Budget::kMemoryBytesTotal)
                             .value_or(limits.bytes_total);
    limits.call_depth = static_cast<uint32_t>(
        hook_->budgets().Max(Budget::kCallDepth).value_or(limits.call_depth));
    store_ = std::make_unique<Store>(*engine_, limits);
    EXPECT_TRUE(store_->SetCallHook(*hook_).ok());

    HostDefinition send;
    send.type = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
    send.spec.args = {{"data", 0, ArgKind::kBytes, 1}};
    send.spec.errno_result = true;
    send.body = [this](Caller& caller, absl::Span<const RawValue> args,
                       absl::Span<RawValue> results) -> ErrorRef {
      Overwrite();
      std::string bytes(args[1].u32(), '\0');
      // SAFETY: characters may be written as bytes; the size is the string's.
      const absl::Span<uint8_t> out(reinterpret_cast<uint8_t*>(&bytes[0]),
                                    bytes.size());
      EXPECT_EQ(caller.Read(args[0].u32(), out), Caller::Access::kOk);
      sent_.push_back(bytes);
      results[0] = RawValue::I32(0);
      return nullptr;
    };
    EXPECT_TRUE(linker_.DefineFunc("net", "send", std::move(send)).ok());

    // Calls back into the guest and takes whatever comes of it for success.
    HostDefinition again;
    again.body = [this](Caller&, absl::Span<const RawValue>,
                        absl::Span<RawValue>) -> ErrorRef {
      const auto result = Invoke("send", {Value::I32(1), Value::I32(1)});
      swallowed_.push_back(result.trap.has_value());
      return nullptr;
    };
    EXPECT_TRUE(linker_.DefineFunc("env", "again", std::move(again)).ok());

    const auto bytes = AssembleWat(kGuest);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    const auto module = Module::Compile(*engine_, *bytes);
    EXPECT_TRUE(module.ok()) << module.status();
    auto made = linker_.Instantiate(*store_, *module, "guest");
    EXPECT_TRUE(made.ok()) << made.status();
    instance_ = made->instance;
  }

  CallResult Invoke(const std::string& name, std::vector<Value> args = {}) {
    CallOptions options;
    options.fuel = hook_->budgets().Max(Budget::kFuelPerCall);
    options.wall = hook_->budgets().wall_per_call();
    auto result = instance_->GetFunc(name)->Call(args, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : CallResult{};
  }

  // What another party does to the guest's memory between a verdict and the
  // host function that it was about.
  void Overwrite() {
    if (overwrites_.empty()) return;
    const auto memory = instance_->GetMemory("memory");
    ASSERT_TRUE(memory.ok()) << memory.status();
    ASSERT_TRUE(memory->Write(16, overwrites_).ok());
  }

  static const PolicyViolation* ViolationOf(const CallResult& result) {
    if (!result.trap) return nullptr;
    return dynamic_cast<const PolicyViolation*>(result.trap->cause().get());
  }

  const std::unique_ptr<Engine> engine_ = NewReferenceEngine();
  std::vector<std::shared_ptr<const policy::Policy>> policies_;
  LineSink sink_;
  std::unique_ptr<PolicyHook> hook_;
  Linker linker_;
  std::unique_ptr<Store> store_;
  std::optional<Instance> instance_;
  std::vector<uint8_t> overwrites_;
  std::vector<std::string> sent_;
  std::vector<bool> swallowed_;
};

constexpr char kOpen[] =
    "imports: [{import: net.send, action: allow}, {import: env.again, action: "
    "allow}]\n";

TEST(GuardedStoreTest, AllowedCallsHappen) {
  GuardedStore s({kOpen});
  const CallResult result = s.Invoke("send", {Value::I32(2), Value::I32(6)});
  ASSERT_TRUE(result.returned()) << result.trap->message();
  EXPECT_THAT(result.values, ElementsAre(Value::I32(0)));
  EXPECT_THAT(s.sent_, ElementsAre("secret", "secret"));
  EXPECT_THAT(s.sink_.lines, IsEmpty());
  const auto counts = s.hook_->DrainCounts();
  ASSERT_EQ(counts.imports.size(), 1u);
  EXPECT_EQ(counts.imports[0].function->name, "send");
  EXPECT_EQ(counts.imports[0].allowed, 2u);
}

TEST(GuardedStoreTest, ADeniedCallGetsItsErrnoAndDoesNotHappen) {
  GuardedStore s(
      {"imports: [{import: net.send, action: deny, guest_errno: "
       "5}]\n"});
  const CallResult result = s.Invoke("send", {Value::I32(3), Value::I32(6)});
  ASSERT_TRUE(result.returned()) << result.trap->message();
  EXPECT_THAT(result.values, ElementsAre(Value::I32(15)));
  EXPECT_THAT(s.sent_, IsEmpty());
  EXPECT_EQ(s.sink_.lines.size(), 3u);
}

TEST(GuardedStoreTest, ATrapEndsTheCallAndNotTheStore) {
  GuardedStore s({"imports: [{import: net.send, action: trap}]\n"});
  const CallResult result = s.Invoke("send", {Value::I32(1), Value::I32(6)});
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kRefused);
  const PolicyViolation* violation = GuardedStore::ViolationOf(result);
  ASSERT_NE(violation, nullptr);
  EXPECT_EQ(result.trap->message(),
            "policy p0, rule import:net.send: net.send is not allowed (trap)");
  EXPECT_THAT(s.sent_, IsEmpty());
  EXPECT_TRUE(s.Invoke("grow", {Value::I32(0)}).returned());
}

TEST(GuardedStoreTest, Point13AKillHoldsWhateverAHostFunctionMakesOfIt) {
  GuardedStore s(
      {"imports: [{import: net.send, action: kill_store}, {import: "
       "env.again, action: allow}]\n"});
  // The host function swallows the error, and its own return is refused, so
  // that the guest's next call is never reached.
  const CallResult result = s.Invoke("again_then_send");
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_THAT(s.swallowed_, ElementsAre(true));
  EXPECT_EQ(result.trap->cause(), s.hook_->latched());
  EXPECT_EQ(s.hook_->latched()->verdict(), Verdict::kKillStore);
  EXPECT_THAT(s.sink_.lines, ElementsAre("kill_store import:net.send"));
  const CallResult later = s.Invoke("grow", {Value::I32(0)});
  EXPECT_EQ(GuardedStore::ViolationOf(later), s.hook_->latched().get());
}

// Stands between a Store and its policies and notes what is asked and answered.
class NotingHook final : public CallHook {
 public:
  explicit NotingHook(CallHook& hook) : hook_(hook) {}
  TransitionSet OnLink(const FunctionIdentity& function) override {
    hook_.OnLink(function);
    return TransitionSet::HostCalls();
  }
  Disposition OnTransition(CallContext& call) override {
    const Disposition disposition = hook_.OnTransition(call);
    if (call.transition() == Transition::kCallingHost) {
      notes.push_back(disposition == Disposition::kProceed  ? "proceeds"
                      : disposition == Disposition::kDelay  ? "waits"
                      : disposition == Disposition::kAnswer ? "is answered"
                                                            : "is refused");
    } else if (call.transition() == Transition::kReturningFromHost) {
      notes.push_back(call.ending() == Ending::kValue      ? "value"
                      : call.ending() == Ending::kAnswered ? "answered"
                                                           : "other");
    }
    return disposition;
  }

  std::vector<std::string> notes;

 private:
  CallHook& hook_;
};

TEST(GuardedStoreTest, Point6FourAnswersAndWhatBecomesOfEach) {
  GuardedStore s(
      {"imports: [{import: net.send, action: allow}]\n"
       "rules:\n"
       "- {id: slow, when: 'args.data == b\"se\"', action: throttle, throttle: "
       "{base_delay: 1ms}}\n"
       "- {id: no, when: 'args.data == b\"sec\"', action: deny, guest_errno: "
       "5}\n"
       "- {id: end, when: 'args.data == b\"secr\"', action: trap}\n"});
  NotingHook noting(*s.hook_);
  Store store(*s.engine_, Limits());
  ASSERT_TRUE(store.SetCallHook(noting).ok());
  const auto bytes = AssembleWat(kGuest);
  ASSERT_TRUE(bytes.ok());
  const auto module = Module::Compile(*s.engine_, *bytes);
  ASSERT_TRUE(module.ok());
  Linker linker;
  int bodies = 0;
  HostDefinition send;
  send.type = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
  send.spec.args = {{"data", 0, ArgKind::kBytes, 1}};
  send.spec.errno_result = true;
  send.body = [&bodies](Caller&, absl::Span<const RawValue>,
                        absl::Span<RawValue> results) -> ErrorRef {
    ++bodies;
    results[0] = RawValue::I32(0);
    return nullptr;
  };
  ASSERT_TRUE(linker.DefineFunc("net", "send", std::move(send)).ok());
  HostDefinition again;
  again.body = [](Caller&, absl::Span<const RawValue>,
                  absl::Span<RawValue>) -> ErrorRef { return nullptr; };
  ASSERT_TRUE(linker.DefineFunc("env", "again", std::move(again)).ok());
  auto made = linker.Instantiate(store, *module, "guest");
  ASSERT_TRUE(made.ok()) << made.status();
  const auto come_to = [&](int32_t length) {
    noting.notes.clear();
    bodies = 0;
    const auto result = made->instance->GetFunc("send")->Call(
        {Value::I32(1), Value::I32(length)}, CallOptions());
    EXPECT_TRUE(result.ok()) << result.status();
    return absl::StrCat(
        absl::StrJoin(noting.notes, ", "), "; bodies ", bodies, "; ",
        result->trap.has_value() ? "trap"
                                 : absl::StrCat(result->values[0].i32()));
  };
  EXPECT_EQ(come_to(1), "proceeds, value; bodies 1; 0");
  EXPECT_EQ(come_to(2), "waits, value; bodies 1; 0");
  EXPECT_EQ(come_to(3), "is answered, answered; bodies 0; 5");
  EXPECT_EQ(come_to(4), "is refused; bodies 0; trap");
}

TEST(GuardedStoreTest, ATrapMayBeSwallowed) {
  GuardedStore s(
      {"imports: [{import: net.send, action: trap}, {import: "
       "env.again, action: allow}]\n"});
  EXPECT_TRUE(s.Invoke("again").returned());
  EXPECT_THAT(s.swallowed_, ElementsAre(true));
}

TEST(GuardedStoreTest, ArgumentsAreHeldToTheirSize) {
  GuardedStore s(
      {"imports: [{import: net.send, action: allow, args: [{name: "
       "data, max_bytes: 6}]}]\n"});
  EXPECT_THAT(s.Invoke("send", {Value::I32(1), Value::I32(6)}).values,
              ElementsAre(Value::I32(0)));
  EXPECT_THAT(s.Invoke("send", {Value::I32(1), Value::I32(7)}).values,
              ElementsAre(Value::I32(1)));
  EXPECT_THAT(s.sent_, ElementsAre("secret"));
  GuardedStore wide(
      {"imports: [{import: net.send, action: allow, args: "
       "[{name: data, max_bytes: 67108864}]}]\n"});
  EXPECT_THAT(wide.Invoke("send", {Value::I32(1), Value::I32(65521)}).values,
              ElementsAre(Value::I32(21)));
}

TEST(GuardedStoreTest, Point7WhatWasJudgedIsWhatIsUsed) {
  const std::vector<uint8_t> other = {'p', 'u', 'b', 'l', 'i', 'c'};
  GuardedStore s(
      {"imports: [{import: net.send, action: allow}, {id: leak, import: "
       "net.send, action: deny, guest_errno: 5, when: 'args.data == "
       "b\"public\"'}]\n"});
  s.overwrites_ = other;
  // Judged as "secret", which is allowed, and sent as that.
  EXPECT_THAT(s.Invoke("send", {Value::I32(1), Value::I32(6)}).values,
              ElementsAre(Value::I32(0)));
  // By now it is in memory, and is judged.
  EXPECT_THAT(s.Invoke("send", {Value::I32(1), Value::I32(6)}).values,
              ElementsAre(Value::I32(5)));
  EXPECT_THAT(s.sent_, ElementsAre("secret"));

  // Where no rule looks at the bytes, nothing is copied.
  GuardedStore unwatched({kOpen});
  unwatched.overwrites_ = other;
  unwatched.Invoke("send", {Value::I32(1), Value::I32(6)});
  EXPECT_THAT(unwatched.sent_, ElementsAre("public"));
}

TEST(GuardedStoreTest, HostCallsAreBudgeted) {
  GuardedStore s({absl::StrCat(kOpen, "budgets: {host_calls_per_call: 3}\n")});
  EXPECT_TRUE(s.Invoke("send", {Value::I32(3), Value::I32(1)}).returned());
  const CallResult result = s.Invoke("send", {Value::I32(4), Value::I32(1)});
  const PolicyViolation* violation = GuardedStore::ViolationOf(result);
  ASSERT_NE(violation, nullptr);
  EXPECT_EQ(violation->facts().budget, "host_calls_per_call");
  EXPECT_EQ(s.sent_.size(), 6u);
}

TEST(GuardedStoreTest, Point14NestedCallsShareTheBudget) {
  GuardedStore s({absl::StrCat(kOpen, "budgets: {host_calls_per_call: 2}\n")});
  // again, send inside it, send after it.
  EXPECT_TRUE(s.Invoke("again").returned());
  const CallResult result = s.Invoke("again_then_send");
  EXPECT_NE(GuardedStore::ViolationOf(result), nullptr);
}

TEST(GuardedStoreTest, Point14StartFunctionsHaveTheBudgetOfACall) {
  const auto instantiate = [](int calls, const std::string& policy) {
    GuardedStore s({policy});
    const auto bytes = AssembleWat(absl::StrCat(
        R"((module (import "net" "send" (func $s (param i32 i32) (result i32)))
             (memory (export "memory") 1)
             (func $f (local $n i32) (local.set $n (i32.const )",
        calls, R"())
               (loop $l (drop (call $s (i32.const 0) (i32.const 1)))
                 (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                 (br_if $l (local.get $n))))
             (start $f)))"));
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    const auto module = Module::Compile(*s.engine_, *bytes);
    EXPECT_TRUE(module.ok()) << module.status();
    const auto made = s.linker_.Instantiate(*s.store_, *module, "starts");
    EXPECT_TRUE(made.ok()) << made.status();
    return absl::StrCat(made->trap.has_value() ? "trap" : "ok", " ",
                        s.hook_->latched() == nullptr ? "" : "latched ",
                        absl::StrJoin(s.sink_.lines, ", "));
  };
  const std::string budget =
      absl::StrCat(kOpen, "budgets: {host_calls_per_call: 3}\n");
  EXPECT_EQ(instantiate(3, budget), "ok ");
  EXPECT_EQ(instantiate(4, budget), "trap trap budget:host_calls_per_call");
  // What ends a Store ends it there, too.
  EXPECT_EQ(instantiate(1, absl::StrCat(kOpen,
                                        "rules: [{id: k, when: 'call.name == "
                                        "\"send\"', action: kill_store}]\n")),
            "trap latched kill_store k");
}

TEST(GuardedStoreTest, TheEngineSBudgetsAreRecorded) {
  GuardedStore fuel({"budgets: {fuel_per_call: 1000}\n"});
  EXPECT_EQ(fuel.Invoke("spin").trap->code(), TrapCode::kOutOfFuel);
  EXPECT_THAT(fuel.sink_.lines, ElementsAre("trap budget:fuel_per_call"));

  GuardedStore wall({"budgets: {wall_per_call: 10ms}\n"});
  EXPECT_EQ(wall.Invoke("spin").trap->code(), TrapCode::kDeadlineExceeded);
  EXPECT_THAT(wall.sink_.lines, ElementsAre("trap budget:wall_per_call"));

  GuardedStore depth({"budgets: {call_depth: 100}\n"});
  EXPECT_EQ(depth.Invoke("deep").trap->code(), TrapCode::kCallStackExhausted);
  EXPECT_THAT(depth.sink_.lines, ElementsAre("trap budget:call_depth"));

  GuardedStore kill(
      {"budgets: {fuel_per_call: 1000, on_exceed: kill_store}\n"});
  const CallResult result = kill.Invoke("spin");
  ASSERT_NE(GuardedStore::ViolationOf(result), nullptr);
  EXPECT_EQ(GuardedStore::ViolationOf(result)->facts().budget, "fuel_per_call");
}

TEST(GuardedStoreTest, AGrowthOverTheBudgetIsMinusOneAndARecord) {
  GuardedStore s({"budgets: {memory_bytes_total: 131072}\n"});
  EXPECT_THAT(s.Invoke("grow", {Value::I32(1)}).values,
              ElementsAre(Value::I32(1)));
  EXPECT_THAT(s.sink_.lines, IsEmpty());
  EXPECT_THAT(s.Invoke("grow", {Value::I32(1)}).values,
              ElementsAre(Value::I32(-1)));
  EXPECT_THAT(s.sink_.lines, ElementsAre("deny budget:memory_bytes_total"));
}

TEST(GuardedStoreTest, EveryPolicyMustAllow) {
  GuardedStore s({kOpen, "", "defaults: {mode: audit}\n"});
  EXPECT_THAT(s.Invoke("send", {Value::I32(1), Value::I32(1)}).values,
              ElementsAre(Value::I32(76)));
}

// The policy format and the admission scan name the same limits.
TEST(BudgetNamesTest, EveryModuleBudgetIsALimitOfTheScan) {
  const auto* fields = callgate::v1::ModuleBudgets::descriptor();
  std::vector<std::string> budgets;
  for (int i = 0; i < fields->field_count(); ++i) {
    budgets.push_back(fields->field(i)->name());
    EXPECT_NE(admission::FindLimit(budgets.back()), nullptr) << budgets.back();
  }
  EXPECT_EQ(budgets.size(), admission::AllLimits().size());
}

}  // namespace
}  // namespace callgate
