#include "server/cli/call_profile.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class CallProfileTest : public testing::Test {
 protected:
  CallProfileTest() {
    type_.params = {ValType::kI32, ValType::kF64};
    many_.params.assign(20, ValType::kI32);
    outer_ = Function("outer", 4, 0);
    inner_ = Function("inner\x1b", 5, 1);
    nameless_ = Function("", 6, 2);
    nameless_.type = &many_;
  }

  ProbedFunction Function(absl::string_view name, uint32_t index,
                          uint32_t probe) const {
    ProbedFunction function;
    function.module = "guest";
    function.name = name;
    function.func_index = index;
    function.type = &type_;
    function.probe = probe;
    return function;
  }
  static CallerFrame NoCaller() { return {}; }
  void Enter(CallProfile& profile, const ProbedFunction& function) {
    const std::vector<RawValue> args = {RawValue::I32(7), RawValue::F64(0.5)};
    profile.OnEnter({function, args, ++depth_, NoCaller, 0, 0});
  }
  void Leave(CallProfile& profile, const ProbedFunction& function,
             FunctionEnding ending = FunctionEnding::kReturn) {
    profile.OnLeave({function, depth_--, ending, nullptr});
  }
  void Pass(int milliseconds) { now_ += absl::Milliseconds(milliseconds); }
  CallProfile::Clock clock() {
    return [this] { return now_; };
  }

  absl::Time now_ = absl::UnixEpoch();
  uint32_t depth_ = 0;
  FuncType type_;
  FuncType many_;
  ProbedFunction outer_;
  ProbedFunction inner_;
  ProbedFunction nameless_;
};

TEST_F(CallProfileTest, OwnTimeLeavesOutProbedCallees) {
  CallProfile profile(clock(), false);
  EXPECT_THAT(profile.Report().functions, IsEmpty());
  Pass(1'000);  // before any
  Enter(profile, outer_);
  Pass(3);
  Enter(profile, inner_);
  Pass(10);
  Leave(profile, inner_);
  Pass(2);
  Enter(profile, inner_);
  Pass(20);
  Leave(profile, inner_, FunctionEnding::kTrap);
  Leave(profile, outer_, FunctionEnding::kTrap);
  Pass(1'000);  // between two calls from outside
  Enter(profile, outer_);
  Pass(1);
  Leave(profile, outer_);
  const ProbeReport report = profile.Report();
  ASSERT_EQ(report.functions.size(), 2u);
  const FunctionTimes& first = report.functions[0];
  EXPECT_EQ(first.name, "inner\x1b");
  EXPECT_EQ(first.module, "guest");
  EXPECT_EQ(first.func_index, 5u);
  EXPECT_EQ(first.calls, 2u);
  EXPECT_EQ(first.own, absl::Milliseconds(30));
  EXPECT_EQ(first.total, absl::Milliseconds(30));
  const FunctionTimes& second = report.functions[1];
  EXPECT_EQ(second.calls, 2u);
  EXPECT_EQ(second.own, absl::Milliseconds(6));
  EXPECT_EQ(second.total, absl::Milliseconds(36));
  EXPECT_THAT(report.trace, IsEmpty());
  EXPECT_EQ(report.trace_lines_omitted, 0u);
}

TEST_F(CallProfileTest, RecursionCountsItsTotalOnce) {
  CallProfile profile(clock(), false);
  for (int i = 0; i < 3; ++i) {
    Enter(profile, outer_);
    Pass(5);
  }
  for (int i = 0; i < 3; ++i) Leave(profile, outer_);
  const ProbeReport report = profile.Report();
  ASSERT_EQ(report.functions.size(), 1u);
  EXPECT_EQ(report.functions[0].calls, 3u);
  EXPECT_EQ(report.functions[0].total, absl::Milliseconds(15));
  EXPECT_EQ(report.functions[0].own, absl::Milliseconds(15));
}

TEST_F(CallProfileTest, TracesEachCall) {
  CallProfile profile(clock(), true);
  Enter(profile, outer_);
  Enter(profile, inner_);
  Leave(profile, inner_, FunctionEnding::kTailCall);
  const std::vector<RawValue> args(20, RawValue::I32(1));
  profile.OnEnter({nameless_, args, ++depth_, NoCaller, 0, 0});
  Leave(profile, nameless_);
  Leave(profile, outer_, FunctionEnding::kExit);
  EXPECT_THAT(
      profile.Report().trace,
      ElementsAre("> outer(7, 0.5)", "  > inner\\x1b(7, 0.5)",
                  "  < inner\\x1b: tail_call",
                  "  > #6(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4 "
                  "more)",
                  "  < #6", "< outer: exit"));
}

TEST_F(CallProfileTest, BoundsTheTrace) {
  CallProfile profile(clock(), true);
  constexpr int kDeep = 600;
  for (int i = 0; i < kDeep; ++i) Enter(profile, outer_);
  for (int i = 0; i < kDeep; ++i) Leave(profile, outer_);
  const ProbeReport report = profile.Report();
  EXPECT_EQ(report.trace.size(), CallProfile::kTraceLinesMax);
  EXPECT_EQ(report.trace_lines_omitted, 200u);
  EXPECT_EQ(report.functions[0].calls, 600u);
  EXPECT_EQ(report.trace[599],
            std::string(CallProfile::kIndentMax, ' ') + "> outer(7, 0.5)");
}

}  // namespace
}  // namespace callgate::cli
