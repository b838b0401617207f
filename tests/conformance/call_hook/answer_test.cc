// What the hook may answer, and what becomes of it.

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/conformance/call_hook/on_every_engine.h"

namespace callgate {
namespace {

constexpr absl::string_view kAsks = R"((module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (type $ask (func (param i32) (result i32)))
  (table 1 funcref) (elem (i32.const 0) $ask)
  (func (export "call") (param i32) (result i32)
    (i32.add (call $ask (local.get 0)) (i32.const 100)))
  (func (export "call_indirect") (param i32) (result i32)
    (i32.add (call_indirect (type $ask) (local.get 0) (i32.const 0))
             (i32.const 100)))
  (func (export "return_call") (param i32) (result i32)
    (return_call $ask (local.get 0)))
  (func (export "return_call_indirect") (param i32) (result i32)
    (return_call_indirect (type $ask) (local.get 0) (i32.const 0)))
  (export "again" (func $ask))))";

class CallHookAnswer : public OnEveryEngine {
 protected:
  void SetUp() override {
    guest_.Define("ask", FuncType{{ValType::kI32}, {ValType::kI32}},
                  [this](Caller&, absl::Span<const RawValue> args,
                         absl::Span<RawValue> results) {
                    journal_.Note("H");
                    results[0] = args[0];
                    return ErrorRef();
                  });
    ASSERT_TRUE(guest_.Instantiate(kAsks));
  }

  // At CallingHost: do this; elsewhere proceed.
  void AtCallingHost(std::function<Disposition(CallContext& call)> judge) {
    At(Transition::kCallingHost, std::move(judge));
  }
  void At(Transition transition,
          std::function<Disposition(CallContext& call)> judge) {
    guest_.hook().judge = [transition,
                           judge = std::move(judge)](CallContext& call) {
      return call.transition() == transition ? judge(call) : call.Proceed();
    };
  }
};

TEST_P(CallHookAnswer, StandsInForTheHostFunction) {
  struct Case {
    const char* export_name;
    const char* outcome;
  };
  for (const Case& c :
       {Case{"call", "ok i32:142"}, Case{"call_indirect", "ok i32:142"},
        Case{"return_call", "ok i32:42"},
        Case{"return_call_indirect", "ok i32:42"},
        Case{"again", "ok i32:42"}}) {
    SCOPED_TRACE(c.export_name);
    Journal journal;
    WatchedStore guest(*engine_, journal);
    guest.Define("ask", FuncType{{ValType::kI32}, {ValType::kI32}},
                 guest.Fails("the body ran"));
    guest.Instantiate(kAsks);
    guest.hook().judge = [](CallContext& call) {
      if (call.transition() != Transition::kCallingHost) return call.Proceed();
      return call.Answer({RawValue::I32(42)});
    };
    guest.Call(c.export_name, {Value::I32(7)});
    EXPECT_EQ(journal.events(), "cw ch= rh rw");
    EXPECT_EQ(journal.endings(), "answered value");
    EXPECT_EQ(journal.outcomes(), c.outcome);
    EXPECT_EQ(journal.violations(), "");
  }
}

TEST_P(CallHookAnswer, IsShownOnTheWayOut) {
  std::vector<uint32_t> results;
  guest_.hook().judge = [&results](CallContext& call) {
    if (call.transition() == Transition::kCallingHost) {
      return call.Answer({RawValue::I32(42)});
    }
    if (call.transition() == Transition::kReturningFromHost) {
      for (const RawValue& value : call.results()) {
        results.push_back(value.u32());
      }
    }
    return call.Proceed();
  };
  guest_.Call("call", {Value::I32(7)});
  EXPECT_EQ(results, std::vector<uint32_t>{42});
}

TEST_P(CallHookAnswer, CanStillBeRefusedOnTheWayOut) {
  AtCallingHost(
      [](CallContext& call) { return call.Answer({RawValue::I32(42)}); });
  guest_.hook().RefuseAt("rh#1");
  guest_.Call("call", {Value::I32(7)});
  EXPECT_EQ(journal_.events(), "cw ch= rh! rw");
  EXPECT_EQ(journal_.endings(), "answered refusal");
  EXPECT_EQ(journal_.outcomes(), "refused rh#1");
}

TEST_P(CallHookAnswer, DecidesCallByCall) {
  AtCallingHost([](CallContext& call) {
    return call.args()[0].u32() == 0 ? call.Answer({RawValue::I32(1)})
                                     : call.Proceed();
  });
  guest_.Call("call", {Value::I32(0)});
  journal_.Step();
  guest_.Call("call", {Value::I32(7)});
  EXPECT_EQ(journal_.events(), "cw ch= rh rw | cw ch H rh rw");
  EXPECT_EQ(journal_.outcomes(), "ok i32:101; ok i32:107");
  EXPECT_EQ(journal_.endings(), "answered value value value");
}

TEST_P(CallHookAnswer, CarriesValuesOfEveryType) {
  const absl::StatusOr<Value> object =
      guest_.store().NewExternRef(std::make_shared<int>(7));
  ASSERT_TRUE(object.ok()) << object.status();
  const std::optional<Func> held = guest_.NewHostFunc(guest_.Returns());
  ASSERT_TRUE(held.has_value());
  V128 vector;
  vector.bytes[15] = 0x80;
  const std::vector<Value> values = {
      Value::I64(uint64_t{1} << 40), Value::F32(0.5f), Value::F64(0.25),
      Value::Vector(vector),         held->ref(),      *object};
  std::vector<RawValue> raw;
  FuncType type;
  for (const Value& value : values) {
    raw.push_back(value.raw());
    type.results.push_back(value.type());
  }
  guest_.Define("many", type, guest_.Fails("the body ran"));
  guest_.Instantiate(R"((module
    (type $many (func (result i64 f32 f64 v128 funcref externref)))
    (import "env" "many" (func $many (type $many)))
    (func (export "go") (type $many) call $many)))");
  AtCallingHost([raw](CallContext& call) { return call.Answer(raw); });
  const std::optional<Func> go = guest_.FindFunc("go");
  ASSERT_TRUE(go.has_value());
  const absl::StatusOr<CallResult> called = go->Call({});
  ASSERT_TRUE(called.ok()) << called.status();
  ASSERT_TRUE(called->returned()) << called->trap->message();
  EXPECT_EQ(called->values, values);
}

// What does not fit the type would be the guest's memory safety: refused.
TEST_P(CallHookAnswer, IsRefusedWhenItDoesNotFitTheType) {
  for (const std::vector<RawValue>& answer :
       {std::vector<RawValue>{},
        std::vector<RawValue>{RawValue::I32(1), RawValue::I32(2)}}) {
    SCOPED_TRACE(answer.size());
    Journal journal;
    WatchedStore guest(*engine_, journal);
    guest.Define("ask", FuncType{{ValType::kI32}, {ValType::kI32}},
                 guest.Returns());
    guest.Instantiate(kAsks);
    guest.hook().judge = [answer](CallContext& call) {
      return call.transition() == Transition::kCallingHost ? call.Answer(answer)
                                                           : call.Proceed();
    };
    const std::optional<Func> func = guest.FindFunc("call");
    ASSERT_TRUE(func.has_value());
    const absl::StatusOr<CallResult> called = func->Call({Value::I32(7)});
    ASSERT_TRUE(called.ok()) << called.status();
    ASSERT_FALSE(called->returned());
    EXPECT_EQ(called->trap->code(), TrapCode::kRefused);
    EXPECT_NE(
        called->trap->message().find(absl::StrCat(answer.size(), " results")),
        std::string::npos)
        << called->trap->message();
    // No body ran. The hook did not refuse, so its enter has a leave.
    EXPECT_EQ(journal.events(), "cw ch= rh rw");
    EXPECT_EQ(journal.endings(), "refusal refusal");
    EXPECT_EQ(journal.violations(), "");
  }
}

// A number that is no reference of this Store must not become one.
TEST_P(CallHookAnswer, IsRefusedWithAForeignReference) {
  guest_.Define("ref", FuncType{{}, {ValType::kFuncRef}}, guest_.Returns());
  guest_.Instantiate(
      R"((module (import "env" "ref" (func $ref (result funcref)))
    (func (export "go") (result funcref) call $ref)))");
  AtCallingHost([](CallContext& call) {
    return call.Answer({RawValue::Ref(0x123456789abc)});
  });
  const std::optional<Func> go = guest_.FindFunc("go");
  ASSERT_TRUE(go.has_value());
  const absl::StatusOr<CallResult> called = go->Call({});
  ASSERT_TRUE(called.ok()) << called.status();
  ASSERT_FALSE(called->returned());
  EXPECT_EQ(called->trap->code(), TrapCode::kRefused);
  EXPECT_EQ(journal_.events(), "cw ch= rh rw");
  EXPECT_EQ(journal_.endings(), "refusal refusal");
}

// Answering and delaying make sense before a host function only.
TEST_P(CallHookAnswer, IsRefusedElsewhere) {
  for (const Transition transition :
       {Transition::kCallingWasm, Transition::kReturningFromHost,
        Transition::kReturningFromWasm}) {
    for (const bool delay : {false, true}) {
      SCOPED_TRACE(absl::StrCat(TransitionSign(transition), " ", delay));
      Journal journal;
      WatchedStore guest(*engine_, journal);
      guest.Define("ask", FuncType{{ValType::kI32}, {ValType::kI32}},
                   guest.Returns());
      guest.Instantiate(kAsks);
      guest.hook().judge = [transition, delay](CallContext& call) {
        if (call.transition() != transition) return call.Proceed();
        return delay ? call.ProceedAfter(absl::ZeroDuration())
                     : call.Answer({RawValue::I32(1)});
      };
      const std::optional<Func> func = guest.FindFunc("call");
      ASSERT_TRUE(func.has_value());
      const absl::StatusOr<CallResult> called = func->Call({Value::I32(7)});
      ASSERT_TRUE(called.ok()) << called.status();
      ASSERT_FALSE(called->returned());
      EXPECT_EQ(called->trap->code(), TrapCode::kRefused);
      // The message names where it was tried.
      EXPECT_NE(
          called->trap->message().find(std::string(TransitionName(transition))),
          std::string::npos)
          << called->trap->message();
      EXPECT_EQ(journal.violations(), "");
      EXPECT_EQ(guest.hook().open(), 0u);
    }
  }
}

TEST_P(CallHookAnswer, ProceedsAfterADelay) {
  AtCallingHost([](CallContext& call) {
    return call.ProceedAfter(absl::Milliseconds(1));
  });
  const absl::Time before = absl::Now();
  guest_.Call("call", {Value::I32(7)});
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(1));
  EXPECT_EQ(journal_.events(), "cw ch H rh rw");
  EXPECT_EQ(journal_.outcomes(), "ok i32:107");
}

// A delay ends at once when the Store is interrupted. The host function does
// not run, and since the hook did not refuse, its enter has a leave.
TEST_P(CallHookAnswer, DelaysNoInterrupt) {
  AtCallingHost([this](CallContext& call) {
    guest_.store().Interrupt();
    return call.ProceedAfter(absl::InfiniteDuration());
  });
  const std::optional<Func> func = guest_.FindFunc("call");
  ASSERT_TRUE(func.has_value());
  const absl::StatusOr<CallResult> called = func->Call({Value::I32(7)});
  ASSERT_TRUE(called.ok()) << called.status();
  ASSERT_FALSE(called->returned());
  EXPECT_EQ(called->trap->code(), TrapCode::kInterrupted);
  EXPECT_EQ(journal_.events(), "cw ch rh rw");
  EXPECT_EQ(journal_.endings(), "trap trap");
}

TEST_P(CallHookAnswer, DelaysNoDeadline) {
  AtCallingHost([](CallContext& call) {
    return call.ProceedAfter(absl::InfiniteDuration());
  });
  CallOptions options;
  options.wall = absl::Milliseconds(1);
  const std::optional<Func> func = guest_.FindFunc("call");
  ASSERT_TRUE(func.has_value());
  const absl::StatusOr<CallResult> called =
      func->Call({Value::I32(7)}, options);
  ASSERT_TRUE(called.ok()) << called.status();
  ASSERT_FALSE(called->returned());
  EXPECT_EQ(called->trap->code(), TrapCode::kDeadlineExceeded);
  EXPECT_EQ(journal_.events(), "cw ch rh rw");
  EXPECT_EQ(journal_.endings(), "trap trap");
}

TEST_P(CallHookAnswer, RefusesEvenWithoutAReason) {
  AtCallingHost([](CallContext& call) { return call.Refuse(nullptr); });
  const std::optional<Func> func = guest_.FindFunc("call");
  ASSERT_TRUE(func.has_value());
  const absl::StatusOr<CallResult> called = func->Call({Value::I32(7)});
  ASSERT_TRUE(called.ok()) << called.status();
  ASSERT_FALSE(called->returned());
  EXPECT_EQ(called->trap->code(), TrapCode::kRefused);
  EXPECT_NE(called->trap->cause(), nullptr);
  EXPECT_EQ(journal_.events(), "cw ch! rw");
}

INSTANTIATE_TEST_SUITE_P(Engines, CallHookAnswer,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
