// What a hook does not want does not fire: by HookOptions for the whole Store,
// by OnLink for each host function.

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/call_hook/on_every_engine.h"

namespace callgate {
namespace {

// Says what it wants of each host function and notes what fires.
class ChoosyHook final : public CallHook {
 public:
  explicit ChoosyHook(Journal& journal) : journal_(journal) {}

  // Of host functions not named here it wants everything.
  std::map<std::string, TransitionSet> wants;
  // At "ch:a", once, it wants something else from now on.
  std::map<std::string, std::map<std::string, TransitionSet>> changes;
  Transition refuse_at = Transition::kCallingHost;
  ErrorRef refuse_with;
  std::vector<std::string> linked;

  TransitionSet OnLink(const FunctionIdentity& function) override {
    linked.push_back(absl::StrCat(function.module, ".", function.name, " ",
                                  function.type->ToString(), " binding ",
                                  function.binding,
                                  function.spec->errno_result ? " errno" : ""));
    const auto found = wants.find(std::string(function.name));
    return found == wants.end() ? TransitionSet::All() : found->second;
  }

  Disposition OnTransition(CallContext& call) override {
    const auto change = changes.find(absl::StrCat(
        TransitionSign(call.transition()), ":", call.function().name));
    if (change != changes.end()) {
      wants = change->second;
      changes.erase(change);
      call.Relink();
    }
    const bool refuse =
        refuse_with != nullptr && call.transition() == refuse_at;
    journal_.Note(absl::StrCat(TransitionSign(call.transition()), ":",
                               call.function().name, refuse ? "!" : ""));
    return refuse ? call.Refuse(refuse_with) : call.Proceed();
  }

 private:
  Journal& journal_;
};

constexpr absl::string_view kGuest = R"((module
  (import "env" "a" (func $a)) (import "env" "b" (func $b))
  (func (export "go") call $a call $b)))";

struct Row {
  std::string name;
  TransitionSet options;
  std::map<std::string, TransitionSet> wants;
  std::string events;
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

constexpr TransitionSet Only(Transition transition) {
  return TransitionSet::None().With(transition);
}

std::vector<Row> Rows() {
  const TransitionSet all = TransitionSet::All();
  const TransitionSet none = TransitionSet::None();
  const TransitionSet ch = Only(Transition::kCallingHost);
  const TransitionSet rh = Only(Transition::kReturningFromHost);
  return {
      {"Everything", all, {}, "cw:go ch:a H rh:a ch:b H rh:b rw:go"},
      {"NothingOfA", all, {{"a", none}}, "cw:go H ch:b H rh:b rw:go"},
      {"NothingOfEither", all, {{"a", none}, {"b", none}}, "cw:go H H rw:go"},
      {"OneSideOfEach",
       all,
       {{"a", ch}, {"b", rh}},
       "cw:go ch:a H H rh:b rw:go"},
      {"WasmBitsOfAHostFunctionMeanNothing",
       all,
       {{"a", Only(Transition::kCallingWasm)}},
       "cw:go H ch:b H rh:b rw:go"},
      {"HostCallsOnly",
       TransitionSet::HostCalls(),
       {},
       "ch:a H rh:a ch:b H rh:b"},
      {"CallingWasmOnly", Only(Transition::kCallingWasm), {}, "cw:go H H"},
      {"ReturningFromWasmOnly",
       Only(Transition::kReturningFromWasm),
       {},
       "H H rw:go"},
      {"OnLinkNarrows", ch, {{"a", rh}}, "H ch:b H"},
      {"OnLinkDoesNotWiden",
       Only(Transition::kCallingWasm),
       {{"a", all}},
       "cw:go H H"},
      {"NothingAtAll", none, {}, "H H"},
  };
}

class CallHookFilter
    : public testing::TestWithParam<std::tuple<EngineUnderTest, Row>> {};

TEST_P(CallHookFilter, FiresWhatIsWanted) {
  const auto& [engine_under_test, row] = GetParam();
  const std::unique_ptr<Engine> engine = engine_under_test.make();
  // The hook is there before the guest, or comes when the guest is linked.
  for (const bool hook_first : {true, false}) {
    SCOPED_TRACE(hook_first);
    Journal journal;
    WatchedStore guest(*engine, journal);
    ChoosyHook hook(journal);
    hook.wants = row.wants;
    HookOptions options;
    options.transitions = row.options;
    guest.Define("a", guest.Returns());
    guest.Define("b", guest.Returns());
    if (!hook_first) guest.Instantiate(kGuest);
    ASSERT_TRUE(guest.store().SetCallHook(hook, options).ok());
    if (hook_first) guest.Instantiate(kGuest);
    guest.Call("go");
    EXPECT_EQ(journal.events(), row.events);
    EXPECT_EQ(journal.outcomes(), "ok");
    EXPECT_EQ(journal.violations(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, CallHookFilter,
                         testing::Combine(testing::ValuesIn(EnginesUnderTest()),
                                          testing::ValuesIn(Rows())),
                         [](const auto& row_info) {
                           return absl::StrCat(
                               std::get<0>(row_info.param).name, "_",
                               std::get<1>(row_info.param).name);
                         });

class CallHookLink : public OnEveryEngine {
 protected:
  void SetUp() override {
    HostFunctionSpec spec;
    spec.errno_result = true;
    guest_.Define("a", guest_.Returns());
    guest_.Define("b", FuncType{{ValType::kI32}, {}}, guest_.Returns(), spec);
  }

  static constexpr absl::string_view kBoth = R"((module
    (import "env" "b" (func (param i32))) (import "env" "a" (func $a))
    (func (export "go") call $a) (func $begin call $a) (start $begin)))";

  ChoosyHook hook_{journal_};
};

TEST_P(CallHookLink, AsksOnceForEachBindingBeforeItsEvents) {
  ASSERT_TRUE(guest_.store().SetCallHook(hook_).ok());
  EXPECT_TRUE(hook_.linked.empty());
  hook_.wants["a"] = TransitionSet::None();
  // Asked before the start function runs: its call of `a` does not fire.
  guest_.Instantiate(kBoth);
  const std::vector<std::string> both = {"env.b (i32) -> () binding 0 errno",
                                         "env.a () -> () binding 1"};
  EXPECT_EQ(hook_.linked, both);
  guest_.Call("go");
  guest_.Call("go");
  EXPECT_EQ(hook_.linked, both);
  EXPECT_EQ(guest_.hook().count(Transition::kCallingHost), 0u);
}

TEST_P(CallHookLink, AsksForWhatIsBoundAlready) {
  guest_.Instantiate(kBoth);
  ASSERT_TRUE(guest_.NewHostFunc(guest_.Returns()).has_value());
  ASSERT_TRUE(guest_.store().SetCallHook(hook_).ok());
  EXPECT_EQ(hook_.linked,
            (std::vector<std::string>{"env.b (i32) -> () binding 0 errno",
                                      "env.a () -> () binding 1",
                                      "env.held () -> () binding 2"}));
}

TEST_P(CallHookLink, AsksForAHostFunctionThatTheEmbedderHolds) {
  ASSERT_TRUE(guest_.store().SetCallHook(hook_).ok());
  hook_.wants["held"] = TransitionSet::None();
  const std::optional<Func> held = guest_.NewHostFunc(guest_.Returns());
  EXPECT_EQ(hook_.linked,
            std::vector<std::string>{"env.held () -> () binding 0"});
  guest_.Call(held);
  EXPECT_EQ(journal_.events(), "cw:held H rw:held");
}

TEST_P(CallHookLink, AsksEveryHookAnew) {
  guest_.Instantiate(kBoth);
  const size_t begun = journal_.events().size();
  hook_.wants["a"] = TransitionSet::None();
  ASSERT_TRUE(guest_.store().SetCallHook(hook_).ok());
  guest_.Call("go");
  ChoosyHook other(journal_);
  ASSERT_TRUE(guest_.store().SetCallHook(other).ok());
  guest_.Call("go");
  EXPECT_EQ(other.linked.size(), 2u);
  EXPECT_EQ(journal_.events().substr(begun),
            " cw:go H rw:go cw:go ch:a H rh:a rw:go");
}

struct ChangeRow {
  std::string name;
  std::map<std::string, TransitionSet> wants;
  std::string at;
  std::map<std::string, TransitionSet> change;
  std::string events;
};

void PrintTo(const ChangeRow& row, std::ostream* out) { *out << row.name; }

std::vector<ChangeRow> ChangeRows() {
  const TransitionSet all = TransitionSet::All();
  const TransitionSet none = TransitionSet::None();
  const TransitionSet ch = Only(Transition::kCallingHost);
  const TransitionSet rh = Only(Transition::kReturningFromHost);
  // "go" calls "a", which calls back in for "in", which calls "b"; then "go"
  // calls "b".
  return {
      {"ForTheCallItself",
       {{"a", ch}},
       "ch:a",
       {},
       "cw:go ch:a H( cw:in ch:b H rh:b rw:in )H:ok rh:a ch:b H rh:b rw:go"},
      {"OfTheCallItself",
       {},
       "ch:a",
       {{"a", ch}},
       "cw:go ch:a H( cw:in ch:b H rh:b rw:in )H:ok ch:b H rh:b rw:go"},
      {"NotOfACallFurtherOut",
       {},
       "ch:b",
       {{"a", none}, {"b", none}},
       "cw:go ch:a H( cw:in ch:b H rw:in )H:ok rh:a H rw:go"},
      {"NorForOne",
       {{"a", ch}, {"b", ch}},
       "ch:b",
       {},
       "cw:go ch:a H( cw:in ch:b H rh:b rw:in )H:ok ch:b H rh:b rw:go"},
      {"WhenACallHasEnded",
       {},
       "rh:b",
       {{"a", none}, {"b", rh}},
       "cw:go ch:a H( cw:in ch:b H rh:b rw:in )H:ok rh:a H rh:b rw:go"},
      {"WhenTheGuestIsEntered",
       {{"a", none}, {"b", none}},
       "cw:in",
       {{"a", all}, {"b", ch}},
       "cw:go H( cw:in ch:b H rw:in )H:ok ch:b H rw:go"},
      {"AndNeverWithoutReason",
       {{"a", none}},
       "ch:a",
       {},
       "cw:go H( cw:in ch:b H rh:b rw:in )H:ok ch:b H rh:b rw:go"},
  };
}

class CallHookRelink
    : public testing::TestWithParam<std::tuple<EngineUnderTest, ChangeRow>> {};

TEST_P(CallHookRelink, ChangesWhatIsWanted) {
  const auto& [engine_under_test, row] = GetParam();
  const std::unique_ptr<Engine> engine = engine_under_test.make();
  Journal journal;
  WatchedStore guest(*engine, journal);
  ChoosyHook hook(journal);
  hook.wants = row.wants;
  hook.changes[row.at] = row.change;
  guest.Define("a", guest.Reenters("in", WatchedStore::Nested::kPropagate));
  guest.Define("b", guest.Returns());
  ASSERT_TRUE(guest.store().SetCallHook(hook).ok());
  guest.Instantiate(R"((module
    (import "env" "a" (func $a)) (import "env" "b" (func $b))
    (func (export "in") call $b)
    (func (export "go") call $a call $b)))");
  guest.Call("go");
  EXPECT_EQ(journal.events(), row.events);
  EXPECT_EQ(journal.outcomes(), "ok");
  EXPECT_EQ(journal.violations(), "");
}

INSTANTIATE_TEST_SUITE_P(Rows, CallHookRelink,
                         testing::Combine(testing::ValuesIn(EnginesUnderTest()),
                                          testing::ValuesIn(ChangeRows())),
                         [](const auto& row_info) {
                           return absl::StrCat(
                               std::get<0>(row_info.param).name, "_",
                               std::get<1>(row_info.param).name);
                         });

// A hook that sees one side only can still refuse there.
TEST_P(CallHookLink, LetsAFilteredHookRefuse) {
  guest_.Instantiate(kBoth);
  const size_t begun = journal_.events().size();
  hook_.refuse_with = journal_.NewError("no");
  hook_.wants["a"] = Only(Transition::kReturningFromHost);
  hook_.refuse_at = Transition::kReturningFromHost;
  HookOptions options;
  options.transitions = TransitionSet::HostCalls();
  ASSERT_TRUE(guest_.store().SetCallHook(hook_, options).ok());
  guest_.Call("go");
  EXPECT_EQ(journal_.events().substr(begun), " H rh:a!");
  EXPECT_EQ(journal_.outcomes(), "refused no");
}

INSTANTIATE_TEST_SUITE_P(Engines, CallHookLink,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
