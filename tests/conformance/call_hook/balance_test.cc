// Enters and leaves balance, and the events are exactly those that call_hook.h
// promises, for random programs under a hook that refuses and answers at
// random.
//
// A tape of random decisions says what the hook and the host functions do next.
// The Store plays a tape, and so does a model of the rules below, a page of
// code without an engine in it. Both must write the same journal, which they
// can only do if they draw their decisions at the same moments.

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/conformance/call_hook/on_every_engine.h"

namespace callgate {
namespace {

constexpr absl::string_view kGuest = R"((module
  (import "env" "step" (func $step))
  (type $void (func)) (table 1 funcref) (elem (i32.const 0) $step)
  (func (export "none"))
  (func (export "once") call $step)
  (func (export "thrice") call $step call $step call $step)
  (func (export "indirect") i32.const 0 call_indirect (type $void))
  (func (export "tail") return_call $step)
  (func $tail return_call $step)
  (func (export "tail_and_on") call $tail call $step)
  (func (export "indirect_tail") i32.const 0 return_call_indirect (type $void))
  (func (export "traps") unreachable)
  (func (export "once_and_traps") call $step unreachable)
  (export "direct" (func $step))))";

struct Export {
  const char* name;
  int host_calls;
  bool traps;
};

constexpr Export kExports[] = {
    {"none", 0, false},          {"once", 1, false},
    {"thrice", 3, false},        {"indirect", 1, false},
    {"tail", 1, false},          {"tail_and_on", 2, false},
    {"indirect_tail", 1, false}, {"traps", 0, true},
    {"once_and_traps", 1, true}, {"direct", 1, false},
};

class Tape {
 public:
  explicit Tape(uint32_t seed) : random_(seed) {}

  enum class Verdict : uint8_t { kProceed, kAnswer, kRefuse };
  Verdict Judge(Transition transition) {
    if (OneIn(12)) return Verdict::kRefuse;
    if (transition == Transition::kCallingHost && OneIn(8)) {
      return Verdict::kAnswer;
    }
    return Verdict::kProceed;
  }

  // What a host function does next.
  struct Action {
    enum class Kind : uint8_t { kReturn, kFail, kReenter } kind = Kind::kReturn;
    const Export* callee = nullptr;
    bool swallows = false;
  };
  Action Next(uint32_t nesting) {
    Action action;
    // Nesting ends, and so does every program.
    if (nesting < kNestingMax && actions_ < kActionsMax && OneIn(2)) {
      action.kind = Action::Kind::kReenter;
      action.callee = &AnyExport();
      action.swallows = OneIn(2);
    } else if (OneIn(8)) {
      action.kind = Action::Kind::kFail;
    }
    ++actions_;
    return action;
  }

  const Export& AnyExport() {
    return kExports[random_() % std::size(kExports)];
  }
  // Error objects are told apart by when they were made.
  std::string NextErrorName() { return absl::StrCat("error ", ++errors_); }

 private:
  static constexpr uint32_t kNestingMax = 6;
  static constexpr uint32_t kActionsMax = 100;

  bool OneIn(uint32_t n) { return random_() % n == 0; }

  std::mt19937 random_;
  uint32_t actions_ = 0;
  uint32_t errors_ = 0;
};

// The rules. An empty string is success, else the name of the error.
class Model {
 public:
  explicit Model(uint32_t seed) : tape_(seed) {}

  std::string CallGuest(const Export& callee) {
    std::string refusal;
    if (!Event("cw", Transition::kCallingWasm, refusal)) return refusal;
    std::string error;
    for (int i = 0; i < callee.host_calls && error.empty(); ++i) {
      error = CallHost();
    }
    if (error.empty() && callee.traps) error = "unreachable";
    Event("rw", Transition::kReturningFromWasm, refusal);
    return refusal.empty() ? error : refusal;
  }

  Tape& tape() { return tape_; }
  const Journal& journal() const { return journal_; }

 private:
  std::string CallHost() {
    std::string refusal;
    std::string error;
    const size_t noted = journal_.Note("ch");
    switch (tape_.Judge(Transition::kCallingHost)) {
      case Tape::Verdict::kRefuse:
        journal_.Amend(noted, "!");
        return tape_.NextErrorName();
      case Tape::Verdict::kAnswer:
        journal_.Amend(noted, "=");
        break;
      case Tape::Verdict::kProceed:
        ++nesting_;
        error = Body();
        --nesting_;
        break;
    }
    Event("rh", Transition::kReturningFromHost, refusal);
    return refusal.empty() ? error : refusal;
  }

  std::string Body() {
    while (true) {
      const Tape::Action action = tape_.Next(nesting_);
      switch (action.kind) {
        case Tape::Action::Kind::kReturn:
          journal_.Note("H");
          return "";
        case Tape::Action::Kind::kFail:
          journal_.Note("Herr");
          return tape_.NextErrorName();
        case Tape::Action::Kind::kReenter:
          break;
      }
      journal_.Note("H(");
      const std::string error = CallGuest(*action.callee);
      journal_.Note(error.empty() ? ")H:ok" : ")H:err");
      if (error.empty() || action.swallows) continue;
      // WatchedStore passes a trap without an object on as an object.
      return error == "unreachable" ? "nested" : error;
    }
  }

  // False when refused, with the error's name.
  bool Event(absl::string_view sign, Transition transition,
             std::string& refusal) {
    const size_t noted = journal_.Note(sign);
    if (tape_.Judge(transition) != Tape::Verdict::kRefuse) return true;
    journal_.Amend(noted, "!");
    refusal = tape_.NextErrorName();
    return false;
  }

  Tape tape_;
  Journal journal_;
  uint32_t nesting_ = 0;
};

// The same program in a Store.
class Player {
 public:
  Player(const Engine& engine, uint32_t seed)
      : tape_(seed), guest_(engine, journal_) {
    guest_.Define("step", [this](Caller&, absl::Span<const RawValue>,
                                 absl::Span<RawValue>) {
      ++nesting_;
      ErrorRef error = Body();
      --nesting_;
      return error;
    });
    guest_.Instantiate(kGuest);
    guest_.hook().judge = [this](CallContext& call) {
      switch (tape_.Judge(call.transition())) {
        case Tape::Verdict::kRefuse:
          return call.Refuse(journal_.NewError(tape_.NextErrorName()));
        case Tape::Verdict::kAnswer:
          return call.Answer({});
        case Tape::Verdict::kProceed:
          break;
      }
      return call.Proceed();
    };
  }

  // As the model's: empty, or the name of the error.
  std::string CallGuest(const Export& callee) {
    const std::optional<Func> func = guest_.FindFunc(callee.name);
    if (!func.has_value()) return "no function";
    const absl::StatusOr<CallResult> called = func->Call({});
    if (!called.ok()) return called.status().ToString();
    if (called->returned()) return "";
    return called->trap->cause() == nullptr
               ? std::string(TrapCodeName(called->trap->code()))
               : journal_.NameOf(called->trap->cause());
  }

  Tape& tape() { return tape_; }
  Journal& journal() { return journal_; }
  WatchedStore& guest() { return guest_; }

 private:
  ErrorRef Body() {
    while (true) {
      const Tape::Action action = tape_.Next(nesting_);
      switch (action.kind) {
        case Tape::Action::Kind::kReturn:
          journal_.Note("H");
          return nullptr;
        case Tape::Action::Kind::kFail:
          journal_.Note("Herr");
          return journal_.NewError(tape_.NextErrorName());
        case Tape::Action::Kind::kReenter:
          break;
      }
      ErrorRef error = guest_.Reenter(action.callee->name);
      if (error != nullptr && !action.swallows) return error;
    }
  }

  Tape tape_;
  Journal journal_;
  WatchedStore guest_;
  uint32_t nesting_ = 0;
};

// Each kind of event, how often.
void Count(const std::string& events, std::map<std::string, int>& counts) {
  for (absl::string_view event : absl::StrSplit(events, ' ')) {
    ++counts[std::string(event)];
  }
}

int Sum(const std::map<std::string, int>& counts,
        std::initializer_list<const char*> events) {
  int sum = 0;
  for (const char* event : events) {
    const auto found = counts.find(event);
    if (found != counts.end()) sum += found->second;
  }
  return sum;
}

class CallHookBalance : public testing::TestWithParam<EngineUnderTest> {};

TEST_P(CallHookBalance, HoldsForRandomPrograms) {
  constexpr uint32_t kPrograms = 300;
  constexpr int kCallsOfEach = 3;
  const std::unique_ptr<Engine> engine = GetParam().make();
  std::map<std::string, int> seen;
  for (uint32_t seed = 1; seed <= kPrograms; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Model model(seed);
    Player player(*engine, seed);
    for (int i = 0; i < kCallsOfEach; ++i) {
      const std::string expected = model.CallGuest(model.tape().AnyExport());
      const std::string actual = player.CallGuest(player.tape().AnyExport());
      ASSERT_EQ(player.journal().events(), model.journal().events());
      ASSERT_EQ(actual, expected);
      ASSERT_EQ(player.journal().violations(), "");
      ASSERT_EQ(player.guest().hook().open(), 0u);
      ASSERT_EQ(player.guest().store().depth(), 0u);
    }
    std::map<std::string, int> counts;
    Count(player.journal().events(), counts);
    // Every enter that was not refused has one leave.
    EXPECT_EQ(Sum(counts, {"cw"}), Sum(counts, {"rw", "rw!"}));
    EXPECT_EQ(Sum(counts, {"ch", "ch="}), Sum(counts, {"rh", "rh!"}));
    Count(player.journal().events(), seen);
  }
  // The programs did everything that the rules speak of.
  for (const char* event : {"cw", "cw!", "rw", "rw!", "ch", "ch!", "ch=", "rh",
                            "rh!", "H", "Herr", "H(", ")H:ok", ")H:err"}) {
    EXPECT_GT(seen[event], 20) << event;
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, CallHookBalance,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
