#include "server/probing_hook.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/reference/reference_engine.h"
#include "runtime/store.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using ::testing::ElementsAre;

constexpr char kGuest[] = R"((module
  (import "env" "host" (func $host))
  (memory 1)
  (func $in (call $host) (drop (memory.grow (i32.const 1))))
  (func $other)
  (func (export "go") (call $in))
  (func (export "others") (call $other))))";

using Lines = std::vector<std::string>;

class Judge final : public CallHook {
 public:
  explicit Judge(Lines& lines) : lines_(lines) {}
  TransitionSet OnLink(const FunctionIdentity& function) override {
    lines_.push_back(absl::StrCat("link ", function.name));
    return TransitionSet::All();
  }
  Disposition OnTransition(CallContext& call) override {
    lines_.push_back("transition");
    if (refuse_transitions) {
      return call.Refuse(std::make_shared<TrapError>(TrapCode::kRefused));
    }
    return call.Proceed();
  }
  GrowthAnswer OnGrowth(const GrowthEvent&) override {
    lines_.push_back("growth");
    return true;
  }
  EntryAnswer OnFunctionEnter(const FunctionEntry& entry) override {
    lines_.push_back(absl::StrCat("judge enters ", entry.function.name));
    if (!refuse_entries) return nullptr;
    return ErrorRef(std::make_shared<TrapError>(TrapCode::kRefused));
  }
  void OnFunctionLeave(const FunctionExit& exit) override {
    lines_.push_back(absl::StrCat("judge leaves ", exit.function.name));
  }
  bool Understands(HookProfile profile) const override {
    return profile == HookProfile::kWasmtime47;
  }

  bool refuse_transitions = false;
  bool refuse_entries = false;

 private:
  Lines& lines_;
};

class Watcher final : public ProbeWatcher {
 public:
  explicit Watcher(Lines& lines) : lines_(lines) {}
  void OnEnter(const FunctionEntry& entry) override {
    lines_.push_back(absl::StrCat("enter ", entry.function.name));
  }
  void OnLeave(const FunctionExit& exit) override {
    lines_.push_back(absl::StrCat("leave ", exit.function.name));
  }

 private:
  Lines& lines_;
};

class ProbingHookTest : public testing::Test {
 protected:
  ProbingHookTest()
      : engine_(NewReferenceEngine(EngineOptions())),
        store_(*engine_, Limits()) {
    HostDefinition host;
    host.body = [](Caller&, absl::Span<const RawValue>,
                   absl::Span<RawValue>) -> ErrorRef { return nullptr; };
    EXPECT_TRUE(linker_.DefineFunc("env", "host", std::move(host)).ok());
    HookOptions options;
    EXPECT_TRUE(options.probes.AddPattern("in").ok());
    EXPECT_TRUE(options.probes.AddPattern("other").ok());
    EXPECT_TRUE(store_.SetCallHook(hook_, options).ok());
  }

  CallResult Go(const std::string& name = "go") {
    const auto module = Module::Compile(*engine_, *AssembleWat(kGuest));
    EXPECT_TRUE(module.ok()) << module.status();
    const auto made = linker_.Instantiate(store_, *module, "guest");
    EXPECT_TRUE(made.ok()) << made.status();
    return *made->instance->GetFunc(name)->Call({});
  }

  std::unique_ptr<Engine> engine_;
  Linker linker_;
  Lines lines_;
  Judge judge_{lines_};
  Watcher watcher_{lines_};
  // Function 1 is "in".
  ProbingHook hook_{judge_, watcher_, {1}};
  Store store_;
};

TEST_F(ProbingHookTest, ForwardsAllAndShowsProbedCalls) {
  EXPECT_TRUE(Go().returned());
  EXPECT_THAT(lines_,
              ElementsAre("link host", "transition", "judge enters in",
                          "enter in", "transition", "transition", "growth",
                          "leave in", "judge leaves in", "transition"));
}

TEST_F(ProbingHookTest, ShowsWhatTheWatcherAskedForAlone) {
  EXPECT_TRUE(Go("others").returned());
  EXPECT_THAT(lines_,
              ElementsAre("link host", "transition", "judge enters other",
                          "judge leaves other", "transition"));
}

TEST_F(ProbingHookTest, LetsTheOtherRefuse) {
  judge_.refuse_transitions = true;
  EXPECT_EQ(Go().trap->code(), TrapCode::kRefused);
  EXPECT_THAT(lines_, ElementsAre("link host", "transition"));
}

TEST_F(ProbingHookTest, DoesNotShowARefusedEntry) {
  judge_.refuse_entries = true;
  EXPECT_EQ(Go().trap->code(), TrapCode::kRefused);
  EXPECT_THAT(lines_, ElementsAre("link host", "transition", "judge enters in",
                                  "transition"));
}

TEST_F(ProbingHookTest, UnderstandsWhatTheOtherDoes) {
  HookOptions options;
  options.profile = HookProfile::kWasmi1;
  EXPECT_EQ(store_.SetCallHook(hook_, options).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace callgate
