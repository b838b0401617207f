// When a hook may be set and cleared, and what it may do to its own Store while
// it runs.

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/module.h"
#include "tests/conformance/call_hook/on_every_engine.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

constexpr absl::string_view kCallsH = R"((module (import "env" "h" (func $h))
  (func (export "empty")) (func (export "go") call $h)))";

class CallHookInstall : public OnEveryEngine {
 protected:
  // Tries to set another hook and to clear the one that is there.
  void TryToChange() {
    const absl::Status set = guest_.store().SetCallHook(other_);
    const absl::Status cleared = guest_.store().ClearCallHook();
    tried_.push_back(set.ok() ? "set" : Journal::Describe(set));
    tried_.push_back(cleared.ok() ? "cleared" : Journal::Describe(cleared));
  }

  void CallsH(HostFunction body) {
    guest_.Define("h", std::move(body));
    ASSERT_TRUE(guest_.Instantiate(kCallsH));
  }

  // `times` refused pairs.
  static std::vector<std::string> Refused(size_t times) {
    return std::vector<std::string>(2 * times, "status FAILED_PRECONDITION");
  }

  RecordingHook other_{journal_, "other:"};
  std::vector<std::string> tried_;
};

TEST_P(CallHookInstall, IsRefusedFromAHostFunction) {
  CallsH([this](Caller&, absl::Span<const RawValue>, absl::Span<RawValue>) {
    TryToChange();
    return ErrorRef();
  });
  guest_.Call("go");
  EXPECT_EQ(tried_, Refused(1));
  // The hook that was there has stayed.
  EXPECT_EQ(journal_.events(), "cw ch rh rw");
}

TEST_P(CallHookInstall, IsRefusedFromEveryTransition) {
  CallsH(guest_.Returns());
  guest_.hook().judge = [this](CallContext& call) {
    TryToChange();
    return call.Proceed();
  };
  guest_.Call("go");
  EXPECT_EQ(tried_, Refused(4));
  EXPECT_EQ(journal_.events(), "cw ch H rh rw");
}

TEST_P(CallHookInstall, IsRefusedFromAHostFunctionThatTheEmbedderCalls) {
  guest_.Call(guest_.NewHostFunc(
      [this](Caller&, absl::Span<const RawValue>, absl::Span<RawValue>) {
        TryToChange();
        return ErrorRef();
      }));
  EXPECT_EQ(tried_, Refused(1));
}

TEST_P(CallHookInstall, IsRefusedFromANestedActivation) {
  CallsH(
      [this](Caller& caller, absl::Span<const RawValue>, absl::Span<RawValue>) {
        const ErrorRef error =
            caller.store().depth() < 6 ? guest_.Reenter("go") : nullptr;
        TryToChange();
        return error;
      });
  guest_.Call("go");
  EXPECT_EQ(tried_, Refused(3));
}

TEST_P(CallHookInstall, IsRefusedWithoutAnyHook) {
  CallsH([this](Caller&, absl::Span<const RawValue>, absl::Span<RawValue>) {
    TryToChange();
    return ErrorRef();
  });
  ASSERT_TRUE(guest_.store().ClearCallHook().ok());
  guest_.Call("go");
  EXPECT_EQ(tried_, Refused(1));
  EXPECT_EQ(journal_.events(), "");
}

TEST_P(CallHookInstall, IsRefusedFromAGrowthReport) {
  class GrowthHook final : public CallHook {
   public:
    explicit GrowthHook(std::function<void()> then) : then_(std::move(then)) {}
    Disposition OnTransition(CallContext& call) override {
      return call.Proceed();
    }
    GrowthAnswer OnGrowth(const GrowthEvent&) override {
      then_();
      return true;
    }

   private:
    const std::function<void()> then_;
  };
  GrowthHook hook([this] { TryToChange(); });
  guest_.Instantiate(R"((module (memory 1)
    (func (export "go") (result i32) (memory.grow (i32.const 1)))))");
  ASSERT_TRUE(guest_.store().SetCallHook(hook).ok());
  guest_.Call("go");
  EXPECT_EQ(tried_, Refused(1));
  EXPECT_EQ(journal_.outcomes(), "ok i32:1");
}

TEST_P(CallHookInstall, IsAllowedAgainWhenTheCallIsOver) {
  CallsH(guest_.Fails("boom"));
  guest_.hook().RefuseAt("cw#2");
  guest_.Call("go");
  guest_.Call("go");
  // However the calls ended.
  EXPECT_EQ(journal_.outcomes(), "host_error boom; refused cw#2");
  EXPECT_TRUE(guest_.store().SetCallHook(other_).ok());
  EXPECT_TRUE(guest_.store().ClearCallHook().ok());
  EXPECT_TRUE(guest_.store().ClearCallHook().ok());
}

TEST_P(CallHookInstall, IsAllowedAgainAfterATrap) {
  guest_.Instantiate("(module (func (export \"go\") unreachable))");
  guest_.Call("go");
  EXPECT_TRUE(guest_.store().SetCallHook(other_).ok());
}

// --- What a hook may not do
// ---------------------------------------------------

std::shared_ptr<const Module> CompileEmpty(const Engine& engine) {
  const absl::StatusOr<std::vector<uint8_t>> bytes = AssembleWat("(module)");
  if (!bytes.ok()) return nullptr;
  absl::StatusOr<std::shared_ptr<const Module>> module =
      Module::Compile(engine, *bytes);
  return module.ok() ? *std::move(module) : nullptr;
}

// Re-entry from a hook would run unwatched.
TEST_P(CallHookInstall, AllowsTheHookNoReentry) {
  CallsH(guest_.Returns());
  const std::optional<Func> empty = guest_.FindFunc("empty");
  const std::optional<Func> held = guest_.NewHostFunc(guest_.Returns());
  const std::shared_ptr<const Module> module = CompileEmpty(*engine_);
  ASSERT_TRUE(empty.has_value() && held.has_value() && module != nullptr);
  guest_.hook().judge = [&](CallContext& call) {
    for (const Func& func : {*empty, *held}) {
      const absl::StatusOr<CallResult> called = func.Call({});
      EXPECT_EQ(called.status().code(), absl::StatusCode::kFailedPrecondition);
      tried_.emplace_back(called.status().message());
    }
    const absl::StatusOr<Instantiation> made =
        guest_.linker().Instantiate(guest_.store(), module, "nested");
    EXPECT_EQ(made.status().code(), absl::StatusCode::kFailedPrecondition);
    return call.Proceed();
  };
  guest_.Call("go");
  ASSERT_EQ(tried_.size(), 8u);
  // The message names the fix.
  EXPECT_NE(tried_[0].find("allow_reentry"), std::string::npos) << tried_[0];
  EXPECT_EQ(journal_.events(), "cw ch H rh rw");
  EXPECT_EQ(journal_.outcomes(), "ok");
}

TEST_P(CallHookInstall, AllowsTheHookReentryWhereTheEmbedderSaidSo) {
  CallsH(guest_.Returns());
  const std::optional<Func> go = guest_.FindFunc("go");
  ASSERT_TRUE(go.has_value());
  HookOptions options;
  options.allow_reentry = true;
  ASSERT_TRUE(guest_.store().SetCallHook(guest_.hook(), options).ok());
  guest_.hook().judge = [&](CallContext& call) {
    if (call.transition() == Transition::kCallingHost) {
      tried_.push_back(journal_.Describe(go->Call({})));
    }
    return call.Proceed();
  };
  guest_.Call("go");
  EXPECT_EQ(tried_, std::vector<std::string>{"ok"});
  EXPECT_EQ(journal_.events(), "cw ch H H rh rw");
}

// Nor may it in a growth report.
TEST_P(CallHookInstall, AllowsAGrowthReportNoReentry) {
  class ReenteringHook final : public CallHook {
   public:
    std::optional<Func> func;
    absl::Status status;
    Disposition OnTransition(CallContext& call) override {
      return call.Proceed();
    }
    GrowthAnswer OnGrowth(const GrowthEvent&) override {
      status = func->Call({}).status();
      return true;
    }
  };
  ReenteringHook hook;
  guest_.Instantiate(R"((module (memory 1) (func (export "empty"))
    (func (export "go") (drop (memory.grow (i32.const 1))))))");
  hook.func = guest_.FindFunc("empty");
  ASSERT_TRUE(hook.func.has_value());
  ASSERT_TRUE(guest_.store().SetCallHook(hook).ok());
  guest_.Call("go");
  EXPECT_EQ(hook.status.code(), absl::StatusCode::kFailedPrecondition);
}

INSTANTIATE_TEST_SUITE_P(Engines, CallHookInstall,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
