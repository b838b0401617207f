// The ring of the last host calls (HookOptions::call_ring): the same on every
// engine.

#include "runtime/call_ring.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/conformance/call_hook/on_every_engine.h"

namespace callgate {
namespace {

absl::string_view OutcomeText(CallRing::Outcome outcome) {
  switch (outcome) {
    case CallRing::Outcome::kRunning:
      return "running";
    case CallRing::Outcome::kReturned:
      return "returned";
    case CallRing::Outcome::kAnswered:
      return "answered";
    case CallRing::Outcome::kRefused:
      return "refused";
    case CallRing::Outcome::kStopped:
      return "stopped";
  }
  return "unknown";
}

// "g@2 returned 5".
std::string Text(const CallRing& ring) {
  return absl::StrJoin(
      ring.Calls(), ", ", [](std::string* out, const CallRing::Call& call) {
        absl::StrAppend(out, call.function->name, "@",
                        call.site == kNoIndex ? "-" : absl::StrCat(call.site),
                        " ", OutcomeText(call.outcome), " ", call.result);
      });
}

constexpr absl::string_view kGuest = R"((module
  (import "env" "g" (func $g (param i32) (result i32)))
  (import "env" "v" (func $v))
  (import "env" "again" (func $again))
  (func $inner (param i32) (result i32) (call $g (local.get 0)))
  (func (export "both") (result i32)
    (call $v)
    (i32.add (call $inner (i32.const 5)) (call $inner (i32.const 6))))
  (func (export "calls") (param i32) (result i32) (call $g (local.get 0)))
  (func (export "tail") (param i32) (result i32)
    (return_call $g (local.get 0)))
  (func (export "again") (call $again))))";

class CallHookRing : public OnEveryEngine {
 protected:
  void Start() {
    guest_.Define("g", FuncType{{ValType::kI32}, {ValType::kI32}},
                  [this](Caller&, absl::Span<const RawValue> args,
                         absl::Span<RawValue> results) -> ErrorRef {
                    if (args[0].u32() == 99) return MakeError("no");
                    results[0] = args[0];
                    during_.push_back(Text(ring_));
                    return nullptr;
                  });
    guest_.Define("v", guest_.Returns());
    guest_.Define("again",
                  guest_.Reenters("both", WatchedStore::Nested::kPropagate));
    ASSERT_TRUE(guest_.Instantiate(kGuest));
    HookOptions options;
    options.call_ring = &ring_;
    ASSERT_TRUE(guest_.store().SetCallHook(guest_.hook(), options).ok());
  }

  CallRing ring_;
  std::vector<std::string> during_;
};

TEST_P(CallHookRing, HasEachCallFromItsSite) {
  Start();
  guest_.Call("both");
  EXPECT_EQ(Text(ring_), "v@4 returned 0, g@3 returned 5, g@3 returned 6");
  // A call is there before it is judged, and has not ended.
  ASSERT_EQ(during_.size(), 2u);
  EXPECT_EQ(during_[0], "v@4 returned 0, g@3 running 0");
}

TEST_P(CallHookRing, HasNestedCallsInTheOrderInWhichTheyBegan) {
  Start();
  guest_.Call("again");
  EXPECT_EQ(Text(ring_),
            "again@7 returned 0, v@4 returned 0, g@3 returned 5, "
            "g@3 returned 6");
  ASSERT_EQ(during_.size(), 2u);
  EXPECT_EQ(during_[0], "again@7 running 0, v@4 returned 0, g@3 running 0");
}

TEST_P(CallHookRing, SaysHowCallsEnded) {
  Start();
  guest_.Call("calls", {Value::I32(99)});
  guest_.hook().judge = [](CallContext& call) {
    if (call.transition() != Transition::kCallingHost) return call.Proceed();
    if (call.args().empty()) return call.Proceed();
    if (call.args()[0].u32() == 1) {
      return call.Answer({RawValue::I32(76)});
    }
    return call.Refuse(MakeError("refused"));
  };
  guest_.Call("calls", {Value::I32(1)});
  guest_.Call("calls", {Value::I32(2)});
  EXPECT_EQ(Text(ring_), "g@5 stopped 0, g@5 answered 76, g@5 refused 0");
}

TEST_P(CallHookRing, NotesWhatTheHookWantsAlone) {
  Start();
  ASSERT_TRUE(guest_.store().SetCallHook(guest_.hook()).ok());
  guest_.Call("both");
  EXPECT_EQ(ring_.noted(), 0u);
  HookOptions options;
  options.call_ring = &ring_;
  options.transitions = TransitionSet::None();
  ASSERT_TRUE(guest_.store().SetCallHook(guest_.hook(), options).ok());
  guest_.Call("both");
  EXPECT_EQ(ring_.noted(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Engines, CallHookRing,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
