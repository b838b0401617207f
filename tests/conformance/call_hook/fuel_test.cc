// Fuel as the embedder, the hook and host functions see it and change it, and
// budgets that none of them can raise: runtime/fuel.h.

#include "runtime/fuel.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/conformance/call_hook/on_every_engine.h"

namespace callgate {
namespace {

// "turns" spins as often as told, "spins" for ever, both after calling h.
constexpr absl::string_view kGuest = R"((module
  (import "env" "h" (func $h))
  (func (export "empty"))
  (func (export "spins") call $h (loop br 0))
  (func (export "turns") (param i32)
    call $h
    (loop $again
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    call $h)))";

class FuelOnEveryEngine : public OnEveryEngine {
 protected:
  // Instantiates with this h.
  void Start(std::function<ErrorRef(Caller&)> h) {
    guest_.Define(
        "h", [h = std::move(h)](Caller& caller, absl::Span<const RawValue>,
                                absl::Span<RawValue>) { return h(caller); });
    ASSERT_TRUE(guest_.Instantiate(kGuest));
  }

  CallResult Call(absl::string_view name, std::optional<uint64_t> budget = {},
                  const std::vector<Value>& args = {}) {
    CallOptions options;
    options.fuel = budget;
    const std::optional<Func> func = guest_.FindFunc(name);
    if (!func.has_value()) return CallResult();
    absl::StatusOr<CallResult> called = func->Call(args, options);
    EXPECT_TRUE(called.ok()) << called.status();
    return called.ok() ? *std::move(called) : CallResult();
  }

  static bool RanDry(const CallResult& result) {
    return !result.returned() && result.trap->code() == TrapCode::kOutOfFuel;
  }
  Fuel& fuel() { return guest_.store().fuel(); }
};

TEST_P(FuelOnEveryEngine, LastsForManyCallsAndIsAddedTo) {
  Start([](Caller&) { return ErrorRef(); });
  ASSERT_TRUE(fuel().Set(2'000).ok());
  const CallResult first = Call("turns", {}, {Value::I32(100)});
  ASSERT_TRUE(first.returned());
  EXPECT_EQ(fuel().tank(), 2'000 - first.usage.fuel);
  EXPECT_TRUE(RanDry(Call("spins")));
  EXPECT_EQ(fuel().tank(), 0u);
  // One that costs as good as nothing has nothing.
  const CallResult dry = Call("empty");
  EXPECT_TRUE(RanDry(dry));
  EXPECT_EQ(dry.usage.fuel, 0u);
  ASSERT_TRUE(fuel().Add(first.usage.fuel).ok());
  EXPECT_TRUE(Call("turns", {}, {Value::I32(100)}).returned());
  EXPECT_EQ(fuel().tank(), 0u);
  ASSERT_TRUE(fuel().Set(std::nullopt).ok());
  EXPECT_TRUE(Call("empty").returned());
}

TEST_P(FuelOnEveryEngine, IsExactInHostFunctionsAndConsumedThere) {
  std::vector<uint64_t> left;
  Start([&left](Caller& caller) {
    left.push_back(caller.fuel().left().value_or(0));
    return caller.fuel().Consume(1'000).ok() ? ErrorRef() : Fuel::Spent();
  });
  const CallResult once = Call("turns", 5'000, {Value::I32(10)});
  ASSERT_TRUE(once.returned());
  ASSERT_EQ(left.size(), 2u);
  // The guest's own work is off, and what was consumed; behind the second host
  // call there is next to nothing.
  EXPECT_LT(left[0], 5'000u);
  EXPECT_LT(left[1], left[0] - 1'000);
  const uint64_t until_second = 5'000 - left[1] + 1'000;
  EXPECT_GE(once.usage.fuel, until_second);
  EXPECT_LE(once.usage.fuel, until_second + 2);

  // The second time there is not enough, and nothing is taken.
  left.clear();
  const CallResult poor = Call("turns", 1'500, {Value::I32(10)});
  EXPECT_TRUE(RanDry(poor));
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(poor.usage.fuel, 1'500 - left[1]);
}

TEST_P(FuelOnEveryEngine, BudgetIsACeilingWhateverIsSet) {
  Start([](Caller& caller) {
    const bool set =
        caller.fuel().Set(1'000'000).ok() && caller.fuel().Add(1'000).ok();
    // What may be used is the budget's, and not the tank's.
    return set && caller.fuel().left() < uint64_t{10'000}
               ? ErrorRef()
               : MakeError("the budget does not hold");
  });
  const CallResult result = Call("spins", 10'000);
  EXPECT_TRUE(RanDry(result));
  EXPECT_EQ(result.usage.fuel, 10'000u);
  // It is in the tank, for calls to come.
  ASSERT_TRUE(fuel().tank().has_value());
  EXPECT_GT(*fuel().tank(), 990'000u);
  EXPECT_LE(*fuel().tank(), 1'001'000u);
}

TEST_P(FuelOnEveryEngine, NestedBudgetIsNotEscaped) {
  CallResult nested;
  uint64_t before = 0;
  uint64_t after = 0;
  int depth = 0;
  Start([&](Caller& caller) -> ErrorRef {
    if (++depth == 1) {
      before = caller.fuel().left().value_or(0);
      nested = Call("spins", 1'000);
      after = caller.fuel().left().value_or(0);
    } else if (depth == 2) {
      // In the nested call: neither raises its budget.
      if (!caller.fuel().Set(50'000).ok()) return MakeError("set");
      if (caller.fuel().left() > uint64_t{1'000}) return MakeError("escaped");
    }
    return nullptr;
  });
  ASSERT_TRUE(fuel().Set(20'000).ok());
  const CallResult outer = Call("spins", 10'000);
  EXPECT_TRUE(RanDry(nested));
  EXPECT_EQ(nested.usage.fuel, 1'000u);
  // The call around it has paid, and its own budget holds.
  EXPECT_EQ(before - after, 1'000u);
  EXPECT_TRUE(RanDry(outer));
  EXPECT_EQ(outer.usage.fuel, 10'000u);
}

TEST_P(FuelOnEveryEngine, NestedBudgetBeyondTheOuterOneDoesNotRaiseIt) {
  CallResult nested;
  int depth = 0;
  Start([&](Caller&) -> ErrorRef {
    if (++depth == 1) nested = Call("spins", 1'000'000);
    return nullptr;
  });
  const CallResult outer = Call("spins", 5'000);
  EXPECT_TRUE(RanDry(nested));
  EXPECT_LT(nested.usage.fuel, 5'000u);
  EXPECT_TRUE(RanDry(outer));
  EXPECT_EQ(outer.usage.fuel, 5'000u);
}

// What is set deep inside counts for every activation.
TEST_P(FuelOnEveryEngine, SetInANestedCallCountsOutside) {
  int depth = 0;
  Start([&](Caller& caller) -> ErrorRef {
    const int mine = ++depth;
    if (mine == 1) Call("turns", {}, {Value::I32(10)});
    // The nested call's second host call.
    if (mine == 3) {
      EXPECT_TRUE(caller.fuel().Set(0).ok());
    }
    return nullptr;
  });
  ASSERT_TRUE(fuel().Set(1'000'000).ok());
  EXPECT_TRUE(RanDry(Call("spins")));
  EXPECT_EQ(depth, 3);
  EXPECT_EQ(fuel().tank(), 0u);
}

TEST_P(FuelOnEveryEngine, SetByTheHookBeforeTheGuestRuns) {
  Start([](Caller&) { return ErrorRef(); });
  guest_.hook().judge = [](CallContext& call) {
    if (call.transition() == Transition::kCallingWasm) {
      EXPECT_TRUE(call.fuel().Set(3'000).ok());
    }
    return call.Proceed();
  };
  const CallResult result = Call("spins");
  EXPECT_TRUE(RanDry(result));
  EXPECT_EQ(result.usage.fuel, 3'000u);
}

INSTANTIATE_TEST_SUITE_P(Engines, FuelOnEveryEngine,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
