// What the Wasmtime 48 profile shows of the engine's own work, beyond the order
// of events: what a runtime call is told, and what its answers do.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tests/conformance/call_hook/on_every_engine.h"

namespace callgate {
namespace {

class CountingLimiter final : public ResourceLimiter {
 public:
  int asked = 0;
  bool MemoryGrowing(uint64_t, uint64_t) override { return ++asked > 0; }
  bool TableGrowing(uint64_t, uint64_t) override { return ++asked > 0; }
};

constexpr absl::string_view kGuest = R"((module
  (memory (export "memory") 1 10)
  (table (export "table") 4 10 funcref)
  (func $f)
  (elem func $f)
  (func (export "memory_grow") (param i32) (result i32)
    (memory.grow (local.get 0)))
  (func (export "table_grow") (param i32) (result i32)
    (table.grow 0 (ref.null func) (local.get 0)))
  (func (export "elem_drop") elem.drop 0)
  (func (export "table_init")
    (table.init 0 (i32.const 0) (i32.const 0) (i32.const 1)))
  (func (export "memory_size") (result i32) memory.size)
  (func (export "table_size") (result i32) (table.size 0))
  (func (export "spins") (loop br 0))))";

class RuntimeCalls : public testing::TestWithParam<EngineUnderTest> {
 protected:
  RuntimeCalls() {
    guest_.Instantiate(kGuest);
    limiter_.asked = 0;
  }
  void TearDown() override { EXPECT_EQ(journal_.violations(), ""); }

  // Judges runtime calls alone.
  void Judge(std::function<Disposition(CallContext&)> judge) {
    guest_.hook().judge = [judge = std::move(judge)](CallContext& call) {
      return call.function().kind == FunctionIdentity::Kind::kRuntimeCall
                 ? judge(call)
                 : call.Proceed();
    };
  }

  const std::unique_ptr<Engine> engine_ = GetParam().make();
  CountingLimiter limiter_;
  Journal journal_;
  WatchedStore guest_{*engine_, journal_,  "",
                      Limits(), &limiter_, HookProfile::kWasmtime48};
};

TEST_P(RuntimeCalls, AreNamedAndTyped) {
  std::vector<std::string> seen;
  Judge([&seen](CallContext& call) {
    const FunctionIdentity& function = call.function();
    EXPECT_EQ(function.module, "");
    EXPECT_EQ(function.binding, kNoIndex);
    EXPECT_EQ(function.spec, nullptr);
    std::string text =
        absl::StrCat(function.name, " ", function.type->ToString());
    for (const RawValue& arg : call.args()) {
      absl::StrAppend(&text, " ", arg.u32());
    }
    for (const RawValue& result : call.results()) {
      absl::StrAppend(&text, " = ", result.u32());
    }
    seen.push_back(std::move(text));
    // Called by the guest's own function, and its memory is in reach.
    EXPECT_NE(call.caller().func_index, kNoIndex);
    EXPECT_GE(call.MemoryBytes(), kWasmPageBytes);
    EXPECT_EQ(call.depth(), 2u);
    return call.Proceed();
  });
  guest_.Call("memory_grow", {Value::I32(2)});
  guest_.Call("elem_drop");
  EXPECT_EQ(journal_.outcomes(), "ok i32:1; ok");
  EXPECT_EQ(journal_.events(), "cw ch rh rw cw ch rh rw");
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0].substr(0, 12), "memory.grow ");
  EXPECT_EQ(seen[0].substr(seen[0].size() - 2), " 2");
  EXPECT_EQ(seen[1], seen[0] + " = 1");
  EXPECT_EQ(seen[2].substr(0, 10), "elem.drop ");
}

TEST_P(RuntimeCalls, RefusedAtTheirStartAreNotDone) {
  guest_.hook().RefuseAt("ch#1");
  guest_.hook().RefuseAt("ch#2");
  guest_.hook().RefuseAt("ch#3");
  guest_.Call("memory_grow", {Value::I32(2)});
  guest_.Call("table_grow", {Value::I32(2)});
  guest_.Call("elem_drop");
  guest_.Call("memory_size");
  guest_.Call("table_size");
  // The segment is still there.
  guest_.Call("table_init");
  EXPECT_EQ(journal_.outcomes(),
            "refused ch#1; refused ch#2; refused ch#3; ok i32:1; ok i32:4; ok");
  EXPECT_EQ(limiter_.asked, 0);
}

TEST_P(RuntimeCalls, RefusedAtTheirEndAreDone) {
  guest_.hook().RefuseAt("rh#1");
  guest_.hook().RefuseAt("rh#2");
  guest_.hook().RefuseAt("rh#3");
  guest_.Call("memory_grow", {Value::I32(2)});
  guest_.Call("table_grow", {Value::I32(2)});
  guest_.Call("elem_drop");
  guest_.Call("memory_size");
  guest_.Call("table_size");
  guest_.Call("table_init");
  EXPECT_EQ(journal_.outcomes(),
            "refused rh#1; refused rh#2; refused rh#3; ok i32:3; ok i32:6; "
            "table_out_of_bounds");
  EXPECT_EQ(limiter_.asked, 2);
}

TEST_P(RuntimeCalls, AreNotAnsweredInTheirPlace) {
  Judge([](CallContext& call) {
    if (call.transition() != Transition::kCallingHost) return call.Proceed();
    const RawValue nine = RawValue::I32(9);
    return call.Answer({nine});
  });
  const std::optional<Func> grow = guest_.FindFunc("memory_grow");
  ASSERT_TRUE(grow.has_value());
  const auto called = grow->Call({Value::I32(2)});
  ASSERT_TRUE(called.ok());
  ASSERT_FALSE(called->returned());
  EXPECT_EQ(called->trap->message(),
            "the call hook may not answer in place of memory.grow");
  EXPECT_EQ(limiter_.asked, 0);
  guest_.hook().judge = nullptr;
  guest_.Call("memory_size");
  EXPECT_EQ(journal_.outcomes(), "ok i32:1");
}

TEST_P(RuntimeCalls, AreDelayed) {
  Judge([](CallContext& call) {
    return call.transition() == Transition::kCallingHost
               ? call.ProceedAfter(absl::Microseconds(1))
               : call.Proceed();
  });
  guest_.Call("memory_grow", {Value::I32(2)});
  EXPECT_EQ(journal_.outcomes(), "ok i32:1");
}

TEST_P(RuntimeCalls, CannotCallGuests) {
  HookOptions options;
  options.allow_reentry = true;
  options.profile = HookProfile::kWasmtime48;
  ASSERT_TRUE(guest_.store().SetCallHook(guest_.hook(), options).ok());
  Judge([this](CallContext& call) {
    guest_.Call("memory_size");
    return call.Proceed();
  });
  guest_.Call("memory_grow", {Value::I32(1)});
  EXPECT_EQ(journal_.outcomes(),
            "status FAILED_PRECONDITION; status FAILED_PRECONDITION; ok i32:1");
}

// Nor do they count as host calls, or come to an end with the activations.
TEST_P(RuntimeCalls, AreNoHostCalls) {
  Limits limits;
  limits.activation_depth = 1;
  WatchedStore tight(*engine_, journal_, "", limits, nullptr,
                     HookProfile::kWasmtime48);
  ASSERT_TRUE(tight.Instantiate(kGuest));
  const std::optional<Func> grow = tight.FindFunc("memory_grow");
  ASSERT_TRUE(grow.has_value());
  const auto called = grow->Call({Value::I32(1)});
  ASSERT_TRUE(called.ok());
  EXPECT_TRUE(called->returned());
  EXPECT_EQ(called->usage.host_calls, 0u);
  EXPECT_EQ(journal_.events(), "cw ch rh rw");
}

TEST_P(RuntimeCalls, AreNotThereWhereTheHookWantsNone) {
  HookOptions options;
  options.transitions = TransitionSet::None()
                            .With(Transition::kCallingWasm)
                            .With(Transition::kReturningFromWasm);
  options.profile = HookProfile::kWasmtime48;
  ASSERT_TRUE(guest_.store().SetCallHook(guest_.hook(), options).ok());
  guest_.hook().check_nesting = false;
  guest_.Call("memory_grow", {Value::I32(1)});
  ASSERT_TRUE(guest_.store().ClearCallHook().ok());
  guest_.Call("memory_grow", {Value::I32(1)});
  EXPECT_EQ(journal_.outcomes(), "ok i32:1; ok i32:2");
  EXPECT_EQ(journal_.events(), "cw rw");
}

// A hook that feeds the guest decides how long it lives.
TEST_P(RuntimeCalls, FeedAGuestThatRanDry) {
  ASSERT_TRUE(guest_.store().fuel().Set(1'000).ok());
  int meals = 0;
  Judge([&meals](CallContext& call) {
    if (call.transition() != Transition::kCallingHost) return call.Proceed();
    EXPECT_EQ(call.function().name, "out_of_fuel");
    EXPECT_EQ(call.fuel().left(), 0u);
    if (meals < 3) {
      ++meals;
      EXPECT_TRUE(call.fuel().Add(10'000).ok());
    }
    return call.Proceed();
  });
  const std::optional<Func> spins = guest_.FindFunc("spins");
  ASSERT_TRUE(spins.has_value());
  const auto called = spins->Call({});
  ASSERT_TRUE(called.ok());
  ASSERT_FALSE(called->returned());
  EXPECT_EQ(called->trap->code(), TrapCode::kOutOfFuel);
  EXPECT_EQ(called->usage.fuel, 31'000u);
  EXPECT_EQ(meals, 3);
}

// A budget is not fed: see runtime/fuel.h.
TEST_P(RuntimeCalls, DoNotRaiseABudget) {
  ASSERT_TRUE(guest_.store().fuel().Set(100'000).ok());
  int times = 0;
  Judge([&times](CallContext& call) {
    if (call.transition() == Transition::kCallingHost) {
      ++times;
      EXPECT_TRUE(call.fuel().Add(10'000).ok());
    }
    return call.Proceed();
  });
  CallOptions options;
  options.fuel = 1'000;
  const std::optional<Func> spins = guest_.FindFunc("spins");
  ASSERT_TRUE(spins.has_value());
  const auto called = spins->Call({}, options);
  ASSERT_TRUE(called.ok());
  ASSERT_FALSE(called->returned());
  EXPECT_EQ(called->trap->code(), TrapCode::kOutOfFuel);
  EXPECT_EQ(called->usage.fuel, 1'000u);
  EXPECT_EQ(times, 1);
}

// A hook that relies on the default's events is not given others.
TEST_P(RuntimeCalls, HookThatDoesNotUnderstandTheProfileIsRefused) {
  class Plain final : public CallHook {
   public:
    Disposition OnTransition(CallContext& call) override {
      return call.Proceed();
    }
    bool Understands(HookProfile profile) const override {
      return profile == HookProfile::kWasmtime47;
    }
  };
  Plain plain;
  HookOptions options;
  for (const HookProfile profile :
       {HookProfile::kWasmtime48, HookProfile::kWasmi1, HookProfile::kWasmi2}) {
    options.profile = profile;
    const absl::Status set = guest_.store().SetCallHook(plain, options);
    EXPECT_EQ(set.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(set.message().find(HookProfileName(profile)),
              absl::string_view::npos);
  }
  // Whatever was installed still is.
  guest_.Call("memory_size");
  EXPECT_EQ(journal_.events(), "cw rw");
  EXPECT_TRUE(guest_.store().SetCallHook(plain).ok());
  ASSERT_TRUE(guest_.store().ClearCallHook().ok());
}

INSTANTIATE_TEST_SUITE_P(Engines, RuntimeCalls,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
