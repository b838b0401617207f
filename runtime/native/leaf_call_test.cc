// Leaf functions are called another way than host functions, and nothing but
// the time it takes may tell.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/call_hook.h"
#include "runtime/linker.h"
#include "runtime/native/compile_request.h"
#include "runtime/store.h"
#include "runtime/trap.h"
#include "tests/support/native_engine.h"
#include "tests/support/wat.h"

namespace callgate::native {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

struct Variant {
  const char* name;
  Level level;
  bool fuel;
};

class RecordingHook final : public CallHook {
 public:
  TransitionSet OnLink(const FunctionIdentity& function) override {
    return function.name == "nested" ? TransitionSet::HostCalls() : wanted;
  }
  Disposition OnTransition(CallContext& call) override {
    if (next_wanted.has_value() && call.function().name == "nested") {
      wanted = *std::exchange(next_wanted, std::nullopt);
      call.Relink();
    }
    std::string line(TransitionName(call.transition()));
    for (const RawValue& arg : call.args())
      absl::StrAppend(&line, " ", arg.u32());
    for (const RawValue& result : call.results()) {
      absl::StrAppend(&line, " -> ", result.u32());
    }
    lines.push_back(std::move(line));
    return call.Proceed();
  }

  TransitionSet wanted = TransitionSet::HostCalls();
  std::optional<TransitionSet> next_wanted;
  std::vector<std::string> lines;
};

constexpr char kGuest[] = R"((module
  (import "env" "mix" (func $mix (param i32 i32) (result i32)))
  (import "env" "same" (func $same (param funcref) (result funcref)))
  (import "env" "nested" (func $nested))
  (table 1 funcref)
  (memory 1)
  (data (i32.const 16) "abcd")
  (func (export "once") (param i32 i32) (result i32)
    (call $mix (local.get 0) (local.get 1)))
  (func (export "loop") (param $n i32) (result i32)
    (local $sum i32)
    (loop $more
      (local.set $sum (call $mix (local.get $sum) (local.get $n)))
      (br_if $more
        (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "forever")
    (loop $more (drop (call $mix (i32.const 1) (i32.const 2))) (br $more)))
  (func (export "null") (result i32)
    (ref.is_null (call $same (ref.null func))))
  (func (export "nest") (call $nested))))";

void Mix(const void* data, RawValue* values) {
  values[0] = RawValue::I32(values[0].u32() * 31 + values[1].u32() +
                            *static_cast<const uint32_t*>(data));
}

// The same functions, as leaves or as host functions.
Linker Functions(bool leaves) {
  HostDefinition mix;
  mix.type = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
  HostDefinition same;
  same.type = {{ValType::kFuncRef}, {ValType::kFuncRef}};
  if (leaves) {
    mix.leaf = {&Mix, std::make_shared<const uint32_t>(7)};
    same.leaf = {[](const void*, RawValue*) {}, nullptr};
  } else {
    mix.body = [](Caller&, absl::Span<const RawValue> args,
                  absl::Span<RawValue> results) -> ErrorRef {
      results[0] = RawValue::I32(args[0].u32() * 31 + args[1].u32() + 7);
      return nullptr;
    };
    same.body = [](Caller&, absl::Span<const RawValue> args,
                   absl::Span<RawValue> results) -> ErrorRef {
      results[0] = args[0];
      return nullptr;
    };
  }
  // Calls back in, so that the guest's own calls are one activation deeper.
  HostDefinition nested;
  nested.body = [](Caller& caller, absl::Span<const RawValue>,
                   absl::Span<RawValue>) -> ErrorRef {
    const auto once = caller.instance()->GetFunc("once");
    if (!once.ok()) return MakeError("no such export");
    const std::vector<Value> args = {Value::I32(1), Value::I32(2)};
    const auto called = once->Call(args);
    if (!called.ok()) return MakeError("not called");
    if (called->returned()) return nullptr;
    return std::make_shared<TrapError>(called->trap->code());
  };
  Linker linker;
  EXPECT_TRUE(linker.DefineFunc("env", "mix", std::move(mix)).ok());
  EXPECT_TRUE(linker.DefineFunc("env", "same", std::move(same)).ok());
  EXPECT_TRUE(linker.DefineFunc("env", "nested", std::move(nested)).ok());
  return linker;
}

class LeafCallTest : public testing::TestWithParam<Variant> {
 protected:
  LeafCallTest() {
    CompileRequest request;
    request.level = GetParam().level;
    request.fuel = GetParam().fuel;
    engine_ = NewInProcessNativeEngine(EngineOptions(), request);
    const auto bytes = AssembleWat(kGuest);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    auto module = Module::Compile(*engine_, *bytes);
    EXPECT_TRUE(module.ok()) << module.status();
    module_ = *std::move(module);
  }

  // A Store of its own for each.
  Instance Instantiate(bool leaves, const Limits& limits = {}) {
    stores_.push_back(std::make_unique<Store>(*engine_, limits));
    const auto made =
        Functions(leaves).Instantiate(*stores_.back(), module_, "guest");
    EXPECT_TRUE(made.ok()) << made.status();
    return *made->instance;
  }

  static CallResult Call(const Instance& guest, const std::string& name,
                         const std::vector<Value>& args = {},
                         const CallOptions& options = {}) {
    const auto func = guest.GetFunc(name);
    EXPECT_TRUE(func.ok()) << func.status();
    auto result = func->Call(args, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  std::unique_ptr<Engine> engine_;
  std::shared_ptr<const Module> module_;
  std::vector<std::unique_ptr<Store>> stores_;
};

INSTANTIATE_TEST_SUITE_P(Levels, LeafCallTest,
                         testing::ValuesIn<Variant>({
                             {"baseline", Level::kBaseline, true},
                             {"optimised", Level::kOptimised, true},
                             {"unmetered", Level::kBaseline, false},
                         }),
                         [](const auto& row) {
                           return std::string(row.param.name);
                         });

TEST_P(LeafCallTest, CountsAsAnyHostCall) {
  const Instance leaf = Instantiate(true);
  const Instance plain = Instantiate(false);
  for (const uint32_t n : {1u, 2u, 399u, 400u, 401u, 5'000u}) {
    const CallResult a = Call(leaf, "loop", {Value::I32(n)});
    const CallResult b = Call(plain, "loop", {Value::I32(n)});
    ASSERT_TRUE(a.returned() && b.returned());
    EXPECT_EQ(a.values, b.values);
    EXPECT_EQ(a.usage.host_calls, n);
    EXPECT_EQ(b.usage.host_calls, n);
    EXPECT_EQ(a.usage.fuel, b.usage.fuel);
  }
  EXPECT_EQ(Call(leaf, "null").values[0], Value::I32(1));
}

TEST_P(LeafCallTest, EndsWhereFuelDoes) {
  if (!GetParam().fuel) GTEST_SKIP() << "nothing is counted";
  const Instance leaf = Instantiate(true);
  const Instance plain = Instantiate(false);
  const uint64_t all = Call(plain, "loop", {Value::I32(60)}).usage.fuel;
  for (uint64_t fuel = 0; fuel <= all + 1; ++fuel) {
    CallOptions options;
    options.fuel = fuel;
    const CallResult a = Call(leaf, "loop", {Value::I32(60)}, options);
    const CallResult b = Call(plain, "loop", {Value::I32(60)}, options);
    ASSERT_EQ(a.returned(), b.returned()) << fuel;
    EXPECT_EQ(a.returned(), fuel >= all) << fuel;
    EXPECT_EQ(a.usage.fuel, b.usage.fuel) << fuel;
    EXPECT_EQ(a.usage.host_calls, b.usage.host_calls) << fuel;
    if (!a.returned()) {
      EXPECT_EQ(a.trap->code(), TrapCode::kOutOfFuel) << fuel;
    }
  }
  // Enough for leaves to be called the short way.
  for (const uint64_t fuel : {501u, 1'000u, 5'000u, 40'000u}) {
    CallOptions options;
    options.fuel = fuel;
    const CallResult a = Call(leaf, "loop", {Value::I32(50'000)}, options);
    const CallResult b = Call(plain, "loop", {Value::I32(50'000)}, options);
    ASSERT_FALSE(a.returned() || b.returned()) << fuel;
    EXPECT_EQ(a.usage.fuel, b.usage.fuel) << fuel;
    EXPECT_EQ(a.usage.host_calls, b.usage.host_calls) << fuel;
  }
}

TEST_P(LeafCallTest, StopsAGuestThatDoesNothingElse) {
  const Instance leaf = Instantiate(true);
  CallOptions options;
  options.wall = absl::Milliseconds(30);
  const absl::Time start = absl::Now();
  const CallResult result = Call(leaf, "forever", {}, options);
  ASSERT_FALSE(result.returned());
  EXPECT_EQ(result.trap->code(), TrapCode::kDeadlineExceeded);
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

TEST_P(LeafCallTest, KeepsTheActivationDepth) {
  Limits limits;
  for (const uint32_t depth : {1u, 2u, 3u, 4u}) {
    limits.activation_depth = depth;
    const Instance leaf = Instantiate(true, limits);
    const Instance plain = Instantiate(false, limits);
    for (const char* name : {"nest", "once"}) {
      std::vector<Value> args;
      if (std::string(name) == "once") {
        args = {Value::I32(1), Value::I32(2)};
      }
      const CallResult a = Call(leaf, name, args);
      const CallResult b = Call(plain, name, args);
      ASSERT_EQ(a.returned(), b.returned()) << name << " " << depth;
      if (!a.returned()) {
        EXPECT_EQ(a.trap->code(), b.trap->code());
      }
    }
  }
}

TEST_P(LeafCallTest, IsSeenByAHookThatWantsIt) {
  const Instance leaf = Instantiate(true);
  const std::vector<Value> args = {Value::I32(1), Value::I32(2)};
  RecordingHook hook;
  HookOptions options;
  options.transitions = TransitionSet::HostCalls();
  ASSERT_TRUE(leaf.store().SetCallHook(hook, options).ok());
  EXPECT_EQ(Call(leaf, "once", args).values[0], Value::I32(40));
  EXPECT_THAT(hook.lines,
              ElementsAre("calling_host 1 2", "returning_from_host 1 2 -> 40"));
  hook.lines.clear();
  hook.wanted = TransitionSet::None();
  ASSERT_TRUE(leaf.store().SetCallHook(hook, options).ok());
  EXPECT_EQ(Call(leaf, "once", args).values[0], Value::I32(40));
  EXPECT_THAT(hook.lines, ElementsAre());
  hook.wanted = TransitionSet::HostCalls();
  ASSERT_TRUE(leaf.store().SetCallHook(hook, options).ok());
  EXPECT_EQ(Call(leaf, "once", args).values[0], Value::I32(40));
  EXPECT_EQ(hook.lines.size(), 2u);
  ASSERT_TRUE(leaf.store().ClearCallHook().ok());
  EXPECT_EQ(Call(leaf, "once", args).values[0], Value::I32(40));
  EXPECT_EQ(hook.lines.size(), 2u);
}

// Writes down all that an event offers, and answers as it is told.
class AskingHook final : public CallHook {
 public:
  enum class Says : uint8_t { kProceed, kRefuse, kDelay, kAnswer, kTwoResults };

  Disposition OnTransition(CallContext& call) override {
    Note(call);
    if (call.function().name != "mix") return call.Proceed();
    const bool calling = call.transition() == Transition::kCallingHost;
    if (calling) Capture(call);
    if (fuel_taken > 0 && calling) {
      notes.push_back(call.fuel().Consume(fuel_taken).ToString());
    }
    switch (calling ? at_calling : at_returning) {
      case Says::kProceed:
        break;
      case Says::kRefuse:
        return call.Refuse(error);
      case Says::kDelay:
        return call.ProceedAfter(absl::Microseconds(50));
      case Says::kAnswer:
        return call.Answer({RawValue::I32(77)});
      case Says::kTwoResults:
        return call.Answer({RawValue::I32(1), RawValue::I32(2)});
    }
    return call.Proceed();
  }

  Says at_calling = Says::kProceed;
  Says at_returning = Says::kProceed;
  uint64_t fuel_taken = 0;
  const Store* store = nullptr;
  const ErrorRef error = MakeError("no");
  std::vector<std::string> notes;

 private:
  void Note(CallContext& call) {
    std::string note = absl::StrCat(
        TransitionName(call.transition()), " ", call.function().name, " ",
        EndingName(call.ending()), " depth ", call.depth(), " ", store->depth(),
        " from ", call.caller_index(), " ", call.caller().func_name, " memory ",
        call.MemoryBytes(), " fuel ", call.fuel().used(), " of ",
        call.fuel().left().value_or(0), " args");
    for (const RawValue& arg : call.args()) {
      absl::StrAppend(&note, " ", arg.u64());
    }
    for (const RawValue& result : call.results()) {
      absl::StrAppend(&note, " -> ", result.u64());
    }
    if (call.trap() != nullptr) {
      absl::StrAppend(&note, " trap ", TrapCodeName(call.trap()->code()), " ",
                      call.trap()->cause() == error);
    }
    for (const Frame& frame : call.Backtrace(10)) {
      absl::StrAppend(&note, " < ", frame.func_index, "@",
                      frame.module_offset.value_or(0));
    }
    uint64_t words[10];
    const size_t count = call.CallChain(absl::MakeSpan(words));
    uint32_t functions[10];
    const size_t named = call.ChainFunctions(absl::MakeConstSpan(words, count),
                                             absl::MakeSpan(functions));
    for (size_t i = 0; i < named; ++i) {
      absl::StrAppend(&note, " / ", functions[i]);
    }
    notes.push_back(std::move(note));
  }
  void Capture(CallContext& call) {
    const auto copy = call.Capture(16, 4);
    notes.push_back(copy.ok() ? std::string(copy->begin(), copy->end())
                              : copy.status().ToString());
    notes.push_back(call.Capture(1 << 20, 4).status().ToString());
  }
};

TEST_P(LeafCallTest, IsJudgedAsAnyHostCall) {
  using Says = AskingHook::Says;
  struct Row {
    Says at_calling;
    Says at_returning;
    uint64_t fuel_taken = 0;
  };
  const std::vector<Row> rows = {
      {Says::kProceed, Says::kProceed},
      {Says::kRefuse, Says::kProceed},
      {Says::kProceed, Says::kRefuse},
      {Says::kRefuse, Says::kRefuse},
      {Says::kDelay, Says::kProceed},
      {Says::kDelay, Says::kRefuse},
      {Says::kAnswer, Says::kProceed},
      {Says::kAnswer, Says::kRefuse},
      {Says::kTwoResults, Says::kProceed},
      {Says::kTwoResults, Says::kRefuse},
      // Neither can be said there.
      {Says::kProceed, Says::kDelay},
      {Says::kProceed, Says::kAnswer},
      {Says::kProceed, Says::kProceed, 40},
      {Says::kProceed, Says::kProceed, 5'000},
  };
  HookOptions all;
  HookOptions ends;
  ends.transitions = TransitionSet::None().With(Transition::kReturningFromHost);
  HookOptions wasmi;
  wasmi.profile = HookProfile::kWasmi1;
  for (const HookOptions& options : {all, ends, wasmi}) {
    for (size_t r = 0; r < rows.size(); ++r) {
      std::vector<std::string> told[2];
      for (const bool leaves : {true, false}) {
        const Instance guest = Instantiate(leaves);
        AskingHook hook;
        hook.at_calling = rows[r].at_calling;
        hook.at_returning = rows[r].at_returning;
        hook.fuel_taken = rows[r].fuel_taken;
        hook.store = &guest.store();
        std::vector<std::string>& notes = told[leaves ? 1 : 0];
        ASSERT_TRUE(guest.store().SetCallHook(hook, options).ok());
        CallOptions call;
        if (GetParam().fuel) call.fuel = 900;
        for (const char* name : {"loop", "nest", "loop"}) {
          std::vector<Value> args;
          if (std::string(name) == "loop") args = {Value::I32(3)};
          const CallResult result = Call(guest, name, args, call);
          hook.notes.push_back(
              result.returned()
                  ? "returned"
                  : absl::StrCat(TrapCodeName(result.trap->code()), " ",
                                 result.trap->cause() == hook.error, " ",
                                 result.trap->message()));
          hook.notes.push_back(absl::StrCat(result.usage.host_calls, " ",
                                            result.usage.fuel, " ",
                                            guest.store().depth()));
          for (const Value& value : result.values) {
            hook.notes.push_back(value.ToString());
          }
        }
        notes = hook.notes;
      }
      EXPECT_THAT(told[1], ElementsAreArray(told[0])) << r;
      EXPECT_GT(told[0].size(), 6u) << r;
    }
  }
}

// Calls of guests by the hook are told to nobody, and see each frame.
TEST_P(LeafCallTest, IsUnderAHookThatCallsGuests) {
  class CallingHook final : public CallHook {
   public:
    Disposition OnTransition(CallContext& call) override {
      ++events;
      if (call.function().name == "mix" && calls_left-- > 0) {
        const auto once = guest->GetFunc("once");
        const std::vector<Value> args = {Value::I32(1), Value::I32(2)};
        const auto called = once->Call(args);
        if (called.ok() && called->returned()) value = called->values[0].u32();
      }
      return call.Proceed();
    }
    const Instance* guest = nullptr;
    int events = 0;
    int calls_left = 1;
    uint32_t value = 0;
  };
  const Instance leaf = Instantiate(true);
  CallingHook hook;
  hook.guest = &leaf;
  HookOptions options;
  options.allow_reentry = true;
  ASSERT_TRUE(leaf.store().SetCallHook(hook, options).ok());
  const std::vector<Value> args = {Value::I32(1), Value::I32(2)};
  EXPECT_EQ(Call(leaf, "once", args).values[0], Value::I32(40));
  EXPECT_EQ(hook.value, 40u);
  EXPECT_EQ(hook.events, 4);
  // Where it may not, it is refused as ever.
  hook.value = 0;
  hook.calls_left = 1;
  options.allow_reentry = false;
  ASSERT_TRUE(leaf.store().SetCallHook(hook, options).ok());
  EXPECT_EQ(Call(leaf, "once", args).values[0], Value::I32(40));
  EXPECT_EQ(hook.value, 0u);
}

// While the guest that calls it runs.
TEST_P(LeafCallTest, IsSeenByAHookThatChangesItsMind) {
  const Instance leaf = Instantiate(true);
  RecordingHook hook;
  HookOptions options;
  options.transitions = TransitionSet::HostCalls();
  hook.wanted = TransitionSet::None();
  ASSERT_TRUE(leaf.store().SetCallHook(hook, options).ok());
  Call(leaf, "nest", {});
  EXPECT_THAT(hook.lines, ElementsAre("calling_host", "returning_from_host"));
  hook.lines.clear();
  hook.next_wanted = TransitionSet::HostCalls();
  Call(leaf, "nest", {});
  EXPECT_THAT(hook.lines, ElementsAre("calling_host", "calling_host 1 2",
                                      "returning_from_host 1 2 -> 40",
                                      "returning_from_host"));
  hook.lines.clear();
  hook.next_wanted = TransitionSet::None();
  Call(leaf, "nest", {});
  EXPECT_THAT(hook.lines, ElementsAre("calling_host", "returning_from_host"));
}

TEST_P(LeafCallTest, HasOneBody) {
  HostDefinition both;
  both.leaf.body = [](const void*, RawValue*) {};
  both.body = [](Caller&, absl::Span<const RawValue>,
                 absl::Span<RawValue>) -> ErrorRef { return nullptr; };
  Linker linker;
  EXPECT_EQ(linker.DefineFunc("env", "both", both).message(),
            "the host function env.both has two bodies");
  EXPECT_EQ(linker.DefineFunc("env", "none", HostDefinition()).message(),
            "the host function env.none has no body");
}

}  // namespace
}  // namespace callgate::native
