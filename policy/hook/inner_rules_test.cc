// Rules about growths and about functions of the guest's own, prices of host
// calls and the budget of events: what the hook makes of them. That a Store
// does what it says is shown in tests/policy.

#include "policy/hook/inner_rules.h"

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/fake_call.h"
#include "policy/hook/policy_hook.h"
#include "tests/support/allocations.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LineSink final : public DecisionSink {
 public:
  void OnDecision(const DecisionRecord& r) override {
    std::string line = absl::StrCat(VerdictName(r.verdict), " ", r.rule);
    if (r.mode == Mode::kAudit) {
      absl::StrAppend(&line, " would ", VerdictName(r.would_be_verdict));
    }
    if (r.over_events_budget) absl::StrAppend(&line, " over");
    if (r.suppressed > 0) absl::StrAppend(&line, " held ", r.suppressed);
    EXPECT_EQ(r.report, !r.over_events_budget);
    EXPECT_EQ(r.calls != nullptr, IsAlert(r.would_be_verdict) && has_ring);
    lines.push_back(std::move(line));
    message = std::string(r.message);
    subject = r.subject;
    func_index = r.func_index;
    caller = r.caller_func_index;
    suppression = r.suppression;
    facts.clear();
    for (const FactText& fact : r.facts) {
      facts.push_back(absl::StrCat(fact.name, "=", fact.text));
    }
    answers.clear();
    for (const ConditionAnswer& answer : r.answers) {
      answers.push_back(absl::StrCat(
          answer.rule,
          answer.kind == ConditionAnswer::Kind::kTrue ? " true" : " false"));
    }
  }
  void OnEngineFault(const StoreFacts&, absl::string_view what) override {
    faults.emplace_back(what);
  }
  void OnConditionFailed(const StoreFacts&, absl::string_view,
                         absl::string_view rule, absl::string_view) override {
    failed.emplace_back(rule);
  }

  bool has_ring = false;
  std::vector<std::string> lines;
  std::vector<std::string> faults;
  std::vector<std::string> failed;
  std::vector<std::string> facts;
  std::vector<std::string> answers;
  std::string message;
  DecisionRecord::Subject subject = DecisionRecord::Subject::kHostCall;
  uint32_t func_index = kNoIndex;
  uint32_t caller = kNoIndex;
  const SuppressionSpec* suppression = nullptr;
};

CompileResult Compile(absl::string_view body, absl::string_view name = "p") {
  return CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\nmetadata: "
                   "{name: ",
                   name, "}\n", body),
      absl::StrCat(name, ".yaml"));
}

constexpr char kAllow[] =
    "imports: [{import: net.send, action: allow}, {import: env.tick, action: "
    "allow}]\n";

class Harness {
 public:
  explicit Harness(const std::vector<std::string>& bodies,
                   const PolicyHook::Options& options = {}) {
    std::vector<std::shared_ptr<const Policy>> policies;
    for (size_t i = 0; i < bodies.size(); ++i) {
      CompileResult compiled =
          Compile(absl::StrCat(kAllow, bodies[i]), absl::StrCat("p", i));
      EXPECT_TRUE(compiled.ok()) << compiled.problems[0].ToString();
      policies.push_back(compiled.policy);
    }
    hook_ = std::make_unique<PolicyHook>(
        policies, StoreFacts{"s", "acme", "sha256:0", "guest"},
        [this] { return now_; }, sink_, options);
    sink_.has_ring = hook_->call_ring() != nullptr;
    send_.module = "net";
    send_.name = "send";
    send_.type = &errno_type_;
    send_.spec = &errno_spec_;
    send_.binding = 0;
    hook_->OnLink(send_);
    tick_.module = "env";
    tick_.name = "tick";
    tick_.type = &errno_type_;
    tick_.binding = 1;
    hook_->OnLink(tick_);
    Begin();
  }

  void Begin() {
    FakeCall call(Transition::kCallingWasm, guest_);
    hook_->OnTransition(call);
  }
  void End(std::optional<TrapCode> code = std::nullopt) {
    FakeCall call(Transition::kReturningFromWasm, guest_);
    call.WithDepth(1);
    std::optional<Trap> trap;
    if (code.has_value())
      call.WithTrap(trap.emplace(*code, std::vector<Frame>()));
    hook_->OnTransition(call);
  }
  GrowthAnswer Grow(uint64_t from, uint64_t to, bool allowed = true,
                    GrowthEvent::Kind kind = GrowthEvent::Kind::kMemory) {
    GrowthEvent event;
    event.kind = kind;
    event.current = from;
    event.desired = to;
    event.allowed = allowed;
    event.store_bytes = from;
    event.fuel_used = 1000;
    return hook_->OnGrowth(event);
  }
  // Of function 5, called by function 9.
  EntryAnswer Enter(const FuncType& type, const std::vector<RawValue>& args,
                    uint32_t depth = 1) {
    function_.func_index = 5;
    function_.name = "parse_header";
    function_.type = &type;
    function_.probe = 0;
    const auto caller = [] { return CallerFrame{9, "main", "guest"}; };
    return hook_->OnFunctionEnter(
        FunctionEntry{function_, args, depth, caller, 1000, 65536});
  }

  FuncType errno_type_ = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
  HostFunctionSpec errno_spec_ = {{{"data", 0, ArgKind::kBytes, 1}}, true};
  FunctionIdentity guest_, send_, tick_;
  ProbedFunction function_;
  LineSink sink_;
  absl::Time now_ = absl::UnixEpoch();
  std::unique_ptr<PolicyHook> hook_;
};

// --- Growths -----------------------------------------------------------------

TEST(GrowthRuleTest, SeesTheGrowthAndTheStore) {
  struct Row {
    const char* when;
    bool holds;
  };
  // From 100 to 150, of a Store of 100 bytes.
  const Row rows[] = {
      {"grow.from == 100 && grow.to == 150 && grow.requested == 50", true},
      {"grow.index == 0 && grow.allowed", true},
      {"store.memory_bytes > 99 && store.memory_bytes <= 100", true},
      {"store.fuel_used == 1000 && store.calls == 0", true},
      {"tenant == \"acme\" && store.id == \"s\" && module.name == \"guest\"",
       true},
      {"grow.to > 150", false},
      {"!grow.allowed", false},
      {"has(call.import) || has(args.x)", false},
      {"has(call.import) && call.import == \"a.b\"", false},
  };
  for (const Row& row : rows) {
    Harness h(
        {absl::StrCat("rules: [{id: r, event: memory_grow, action: log, "
                      "when: '",
                      row.when, "'}]\n")});
    EXPECT_TRUE(h.Grow(100, 150).allow);
    EXPECT_EQ(h.sink_.lines.size(), row.holds ? 1u : 0u) << row.when;
    EXPECT_THAT(h.sink_.faults, IsEmpty());
  }
}

TEST(GrowthRuleTest, EachActionIsWhatItSays) {
  struct Row {
    const char* action;
    bool allow;
    bool stops;
    bool latches;
    absl::Duration delay;
  };
  const Row rows[] = {
      {"action: log", true, false, false, absl::ZeroDuration()},
      {"action: alert", true, false, false, absl::ZeroDuration()},
      {"action: throttle, throttle: {base_delay: 20ms}", true, false, false,
       absl::Milliseconds(20)},
      {"action: deny", false, false, false, absl::ZeroDuration()},
      {"action: trap", false, true, false, absl::ZeroDuration()},
      {"action: kill_store", false, true, true, absl::ZeroDuration()},
      {"action: quarantine_module", false, true, true, absl::ZeroDuration()},
      {"mode: audit, action: kill_store", true, false, false,
       absl::ZeroDuration()},
  };
  for (const Row& row : rows) {
    Harness h(
        {absl::StrCat("rules: [{id: r, event: table_grow, when: "
                      "'grow.to > 4', ",
                      row.action, "}]\n")});
    // Another kind of growth, and one that it is not about.
    EXPECT_TRUE(h.Grow(100, 150).allow);
    EXPECT_TRUE(h.Grow(3, 4, true, GrowthEvent::Kind::kTable).allow);
    EXPECT_THAT(h.sink_.lines, IsEmpty());
    const GrowthAnswer answer = h.Grow(4, 5, true, GrowthEvent::Kind::kTable);
    EXPECT_EQ(answer.allow, row.allow) << row.action;
    EXPECT_EQ(answer.error != nullptr, row.stops) << row.action;
    EXPECT_EQ(answer.delay, row.delay) << row.action;
    EXPECT_EQ(h.hook_->latched() != nullptr, row.latches) << row.action;
    ASSERT_EQ(h.sink_.lines.size(), 1u) << row.action;
    EXPECT_EQ(h.sink_.subject, DecisionRecord::Subject::kTableGrow);
    if (row.latches) {
      EXPECT_EQ(h.Grow(0, 1).error, h.hook_->latched());
    }
  }
}

TEST(GrowthRuleTest, ABudgetAndARuleAreOneDecision) {
  Harness h(
      {"budgets: {memory_bytes_total: 100}\nrules: [{id: r, event: "
       "memory_grow, action: alert, when: '!grow.allowed'}]\n"});
  EXPECT_FALSE(h.Grow(90, 150, false).allow);
  EXPECT_THAT(h.sink_.lines, ElementsAre("deny budget:memory_bytes_total"));
  // The budget is told once in a call; the rule sees every attempt.
  h.Grow(90, 150, false);
  EXPECT_THAT(h.sink_.lines,
              ElementsAre("deny budget:memory_bytes_total", "alert r"));
}

TEST(GrowthRuleTest, TheMessageHasFacts) {
  Harness h(
      {"rules: [{id: r, event: memory_grow, action: log, when: 'true', "
       "message: 'from ${grow.from} of ${module.name}'}, {id: s, event: "
       "memory_grow, action: deny, when: 'grow.to / (grow.from - 1) > "
       "3'}]\n"});
  h.Grow(2, 3);
  EXPECT_EQ(h.sink_.message, "from 2 of \"guest\"");
  // One that cannot be judged restricts.
  EXPECT_FALSE(h.Grow(1, 3).allow);
  EXPECT_THAT(h.sink_.failed, ElementsAre("s"));
}

// What `policy explain` shows.
TEST(InnerRulesTest, ADecisionHasItsFactsAndAnswers) {
  PolicyHook::Options options;
  options.keep_answers = true;
  Harness h(
      {"rules: [{id: large, event: memory_grow, action: log, when: 'grow.to > "
       "1000'}, {id: small, event: memory_grow, action: log, when: 'grow.to < "
       "10'}, {id: parse, event: function, function: 'parse_*', action: log, "
       "when: 'args.p0 > 3'}]\n"
       "exceptions: [{rule: parse, name: spared, fields: [args.p0], comps: "
       "['=='], values: [{v: ['7']}], reason: x, expires: '2999-01-01'}]\n"
       "budgets: {memory_bytes_total: 5000}\n"},
      options);
  h.Grow(900, 1100);
  EXPECT_THAT(h.sink_.facts,
              testing::IsSupersetOf(
                  {"grow.from=900", "grow.to=1100", "grow.requested=200",
                   "grow.index=0", "grow.allowed=true", "store.calls=0",
                   "store.memory_bytes=900", "store.fuel_used=1000",
                   "module.name=\"guest\""}));
  EXPECT_THAT(h.sink_.answers, ElementsAre("large true", "small false"));
  // What a budget alone decides has facts, too.
  h.Grow(4999, 5001, false);
  EXPECT_THAT(h.sink_.facts, testing::IsSupersetOf({"grow.allowed=false"}));

  const FuncType type = {{ValType::kI32}, {}};
  h.Enter(type, {RawValue::I32(5)});
  EXPECT_THAT(
      h.sink_.facts,
      testing::IsSupersetOf({"call.name=\"parse_header\"", "call.func_index=5",
                             "call.site=9", "call.caller=\"main\"",
                             "call.depth=1", "args.p0=5"}));
  EXPECT_THAT(h.sink_.answers, ElementsAre("parse true"));
  const size_t told = h.sink_.lines.size();
  h.Enter(type, {RawValue::I32(7)});
  EXPECT_EQ(h.sink_.lines.size(), told);
  const std::vector<ConditionAnswer> answers = h.hook_->TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].kind, ConditionAnswer::Kind::kExcepted);
  EXPECT_EQ(answers[0].exception, "spared");
}

TEST(GrowthRuleTest, ExceptionsAreLeftAlone) {
  Harness h(
      {"rules: [{id: r, event: memory_grow, action: deny, when: 'true'}]\n"
       "exceptions: [{rule: r, fields: [tenant, grow.to], comps: ['==', "
       "'=='], values: [{v: [acme, '150']}], reason: x, expires: "
       "'2999-01-01'}]\n"});
  EXPECT_TRUE(h.Grow(100, 150).allow);
  EXPECT_FALSE(h.Grow(100, 151).allow);
}

TEST(GrowthRuleTest, JudgingAllocatesNothing) {
  Harness h(
      {"rules: [{id: r, event: memory_grow, action: log, when: 'grow.to > "
       "1000 && store.memory_bytes > 5'}]\n"});
  h.Grow(1, 2);
  const uint64_t before = AllocationCount();
  for (int i = 0; i < 100; ++i) h.Grow(1, 2);
  EXPECT_EQ(AllocationCount(), before);
}

// --- Functions ---------------------------------------------------------------

const FuncType kParse = {{ValType::kI32, ValType::kI64, ValType::kF32,
                          ValType::kF64, ValType::kExternRef},
                         {}};

std::vector<RawValue> ParseArgs() {
  return {RawValue::I32(static_cast<uint32_t>(-7)), RawValue::I64(9),
          RawValue::F32(0.5f), RawValue::F64(2.5), RawValue::Ref(kNullRef)};
}

TEST(FunctionRuleTest, SeesTheFunctionItsCallerAndItsParameters) {
  struct Row {
    const char* when;
    bool holds;
  };
  const Row rows[] = {
      {"call.func_index == 5 && call.name == \"parse_header\"", true},
      {"call.name.startsWith(\"parse_\")", true},
      {"call.site == 9 && call.caller == \"main\"", true},
      {"call.depth == 1", true},
      {"args.p0 == -7 && args.p1 == 9", true},
      {"args.p2 == 0.5 && args.p3 > 2.0", true},
      {"store.memory_bytes == 65536 && store.fuel_used == 1000", true},
      {"has(args.p4) || has(args.p5) || has(args.path)", false},
      {"has(args.p17) && args.p17 == 1", false},
      {"call.name == \"other\"", false},
  };
  for (const Row& row : rows) {
    Harness h(
        {absl::StrCat("rules: [{id: r, event: function, function: "
                      "'parse_*', action: log, when: '",
                      row.when, "'}]\n")});
    EXPECT_EQ(h.Enter(kParse, ParseArgs()).error, nullptr);
    EXPECT_EQ(h.sink_.lines.size(), row.holds ? 1u : 0u) << row.when;
    EXPECT_THAT(h.sink_.faults, IsEmpty());
    if (!row.holds) continue;
    EXPECT_EQ(h.sink_.subject, DecisionRecord::Subject::kFunction);
    EXPECT_EQ(h.sink_.func_index, 5u);
    EXPECT_EQ(h.sink_.caller, 9u);
  }
}

TEST(FunctionRuleTest, EachActionIsWhatItSays) {
  struct Row {
    const char* action;
    const char* line;
    bool stops;
    bool latches;
  };
  const Row rows[] = {
      {"action: log", "log r", false, false},
      {"action: alert", "alert r", false, false},
      {"action: throttle, throttle: {base_delay: 20ms}", "throttle r", false,
       false},
      // There is nobody who could answer an errno.
      {"action: deny", "trap r", true, false},
      {"action: trap", "trap r", true, false},
      {"action: kill_store", "kill_store r", true, true},
      {"mode: audit, action: trap", "allow r would trap", false, false},
  };
  for (const Row& row : rows) {
    Harness h(
        {absl::StrCat("rules: [{id: r, event: function, function: '#5', "
                      "when: 'true', ",
                      row.action, "}]\n")});
    const EntryAnswer answer = h.Enter(kParse, ParseArgs());
    EXPECT_EQ(answer.error != nullptr, row.stops) << row.action;
    EXPECT_THAT(h.sink_.lines, ElementsAre(row.line));
    EXPECT_EQ(answer.delay > absl::ZeroDuration(),
              std::string(row.line) == "throttle r");
    EXPECT_EQ(h.hook_->latched() != nullptr, row.latches);
    if (row.latches) {
      EXPECT_EQ(h.Enter(kParse, ParseArgs()).error, h.hook_->latched());
    }
  }
}

TEST(FunctionRuleTest, AParameterThatIsNotThereIsAFault) {
  Harness h(
      {"rules: [{id: r, event: function, function: 'parse_*', action: "
       "log, when: 'args.p9 == 1'}]\n"});
  // Nobody can say whether it holds, so the call traps.
  EXPECT_NE(h.Enter(kParse, ParseArgs()).error, nullptr);
  ASSERT_EQ(h.sink_.faults.size(), 1u);
  EXPECT_THAT(h.sink_.faults[0], HasSubstr("args.p9"));
}

TEST(FunctionRuleTest, OnlyThoseThatTheSelectionHasAreLookedAt) {
  Harness h(
      {"rules: [{id: a, event: function, function: 'parse_*', action: "
       "log, when: 'true'}, {id: b, event: function, function: '#77', "
       "action: log, when: 'true'}, {id: off, event: function, function: "
       "'parse_*', action: trap, when: 'true', enabled: false}]\n"});
  std::vector<std::string> asked;
  h.hook_->SelectFunctions([&](const FunctionFilter& filter) {
    // By another of its names, say.
    if (filter.HasName("parse_x")) return std::vector<uint32_t>{2, 5};
    return std::vector<uint32_t>();
  });
  ASSERT_EQ(h.hook_->pending_rules().size(), 1u);
  EXPECT_EQ(h.hook_->pending_rules()[0].rule->id, "b");
  EXPECT_EQ(h.hook_->pending_rules()[0].pattern, "#77");
  EXPECT_EQ(h.Enter(kParse, ParseArgs()).error, nullptr);
  EXPECT_THAT(h.sink_.lines, ElementsAre("log a"));

  FunctionFilter probes;
  ASSERT_TRUE(h.hook_->AddProbes(&probes).ok());
  EXPECT_TRUE(probes.HasName("parse_y"));
  EXPECT_TRUE(probes.HasIndex(77));
}

TEST(FunctionRuleTest, MorePatternsThanAFilterHoldsAreRefused) {
  std::string rules = "rules:\n";
  for (size_t i = 0; i <= FunctionFilter::kEntriesMax; ++i) {
    absl::StrAppend(&rules, "  - {id: r", i, ", event: function, function: f",
                    i, ", action: log, when: 'true'}\n");
  }
  Harness h({rules});
  FunctionFilter probes;
  EXPECT_EQ(h.hook_->AddProbes(&probes).code(),
            absl::StatusCode::kResourceExhausted);
}

// --- Prices ------------------------------------------------------------------

class PriceTest : public testing::Test {
 protected:
  Disposition Send(Harness& h, uint32_t length) {
    FakeCall call(Transition::kCallingHost, h.send_,
                  {RawValue::I32(0), RawValue::I32(length)});
    call.WithMemory(&memory_);
    if (tank_.has_value()) {
      EXPECT_TRUE(call.fuel().Set(tank_).ok());
    }
    const Disposition said = h.hook_->OnTransition(call);
    used_ = call.fuel().used();
    error_ = call.error();
    return said;
  }

  std::vector<uint8_t> memory_ = std::vector<uint8_t>(65536);
  std::optional<uint64_t> tank_;
  uint64_t used_ = 0;
  ErrorRef error_;
};

TEST_F(PriceTest, IsTakenBeforeTheCall) {
  Harness h(
      {"budgets: {host_call_price: [{import: net.send, base: 100, "
       "per_byte: 2}, {import: '*', base: 7}]}\n"});
  EXPECT_EQ(Send(h, 10), Disposition::kProceed);
  EXPECT_EQ(used_, 120u);
  tank_ = 119;
  EXPECT_EQ(Send(h, 10), Disposition::kRefuse);
  const auto* trap = dynamic_cast<const TrapError*>(error_.get());
  ASSERT_NE(trap, nullptr);
  EXPECT_EQ(trap->code(), TrapCode::kOutOfFuel);
  // It is gone, as if the guest had burnt it.
  EXPECT_EQ(used_, 119u);
  FakeCall tick(Transition::kCallingHost, h.tick_,
                {RawValue::I32(0), RawValue::I32(500)});
  EXPECT_EQ(h.hook_->OnTransition(tick), Disposition::kProceed);
  EXPECT_EQ(tick.fuel().used(), 7u);
  // Nothing that a policy says a word about by itself.
  EXPECT_THAT(h.sink_.lines, IsEmpty());
}

TEST_F(PriceTest, OfSeveralPoliciesTheHighestCountsAndAuditTakesNone) {
  const std::string audit =
      "defaults: {mode: audit}\nbudgets: {fuel_per_call: 5000, "
      "host_call_price: [{import: '*', base: 900}]}\n";
  Harness h({"budgets: {host_call_price: [{import: net.send, base: 100}]}\n",
             "budgets: {host_call_price: [{import: '*', per_byte: 3}]}\n",
             audit});
  Send(h, 10);
  EXPECT_EQ(used_, 100u);
  Send(h, 100);
  EXPECT_EQ(used_, 300u);
  // What it would have taken beyond that: 800 and 600.
  PolicyHook::Usage usage;
  usage.fuel = 3600;
  h.hook_->ReportUsage(usage);
  EXPECT_THAT(h.sink_.lines, IsEmpty());
  usage.fuel = 3601;
  h.hook_->ReportUsage(usage);
  EXPECT_THAT(h.sink_.lines,
              ElementsAre("allow budget:fuel_per_call would trap"));
}

TEST_F(PriceTest, IsTakenOfDeniedCallsToo) {
  Harness h(
      {"rules: [{id: r, when: 'call.import == \"net.send\"', action: "
       "deny}]\nbudgets: {host_call_price: [{import: '*', base: 5}]}\n"});
  EXPECT_EQ(Send(h, 1), Disposition::kAnswer);
  EXPECT_EQ(used_, 5u);
}

TEST_F(PriceTest, CannotBeTakenWhereNoFuelIsCounted) {
  Harness h({"budgets: {host_call_price: [{import: '*', base: 5}]}\n"});
  FakeCall call(Transition::kCallingHost, h.tick_,
                {RawValue::I32(0), RawValue::I32(0)});
  call.WithoutFuel();
  EXPECT_EQ(h.hook_->OnTransition(call), Disposition::kRefuse);
  EXPECT_EQ(h.sink_.faults.size(), 1u);
}

TEST_F(PriceTest, PayingAllocatesNothing) {
  Harness h(
      {"budgets: {host_call_price: [{import: '*', base: 1, per_byte: "
       "1}]}\n"});
  FakeCall call(Transition::kCallingHost, h.send_,
                {RawValue::I32(0), RawValue::I32(9)});
  call.WithMemory(&memory_);
  h.hook_->OnTransition(call);
  const uint64_t before = AllocationCount();
  for (int i = 0; i < 100; ++i) h.hook_->OnTransition(call);
  EXPECT_EQ(AllocationCount(), before);
  EXPECT_EQ(call.fuel().used(), 1010u);
}

// --- Events and suppression --------------------------------------------------

TEST(EventsBudgetTest, WhatIsOverIsCountedAndSaidOnce) {
  Harness h(
      {"budgets: {events_per_call: 2}\nrules: [{id: r, event: "
       "memory_grow, action: deny, when: 'true'}]\n"});
  for (int i = 0; i < 5; ++i) {
    // The verdict holds, told or not.
    EXPECT_FALSE(h.Grow(1, 2).allow);
  }
  h.End();
  EXPECT_THAT(h.sink_.lines,
              ElementsAre("deny r", "deny r", "deny r over", "deny r over",
                          "deny r over", "log budget:events_per_call held 3"));
  EXPECT_EQ(h.sink_.message,
            "3 more events of the call are counted and not told: "
            "events_per_call is 2");
  // The next call has as many.
  h.sink_.lines.clear();
  h.Begin();
  h.Grow(1, 2);
  h.End();
  EXPECT_THAT(h.sink_.lines, ElementsAre("deny r"));
}

// What says that events are missing is more than the least of them.
TEST(EventsBudgetTest, ThatEventsAreHeldBackIsSaidWhateverMinSeverityIs) {
  Harness h(
      {"defaults: {min_severity: error}\nbudgets: {events_per_call: 1}\nrules: "
       "[{id: r, event: memory_grow, action: deny, severity: error, when: "
       "'true'}]\n"});
  h.Grow(1, 2);
  h.Grow(1, 2);
  h.End();
  EXPECT_THAT(h.sink_.lines, ElementsAre("deny r", "deny r over",
                                         "log budget:events_per_call held 1"));
}

TEST(EventsBudgetTest, WhatEndsTheStoreIsAlwaysTold) {
  Harness h(
      {"budgets: {events_per_call: 0}\ndefaults: {suppression: {burst: "
       "1, period: 60s}}\nrules: [{id: r, event: memory_grow, action: "
       "log, when: 'grow.to < 9'}, {id: k, event: memory_grow, action: "
       "kill_store, when: 'grow.to >= 9'}]\n"});
  h.Grow(1, 2);
  EXPECT_NE(h.sink_.suppression, nullptr);
  h.Grow(1, 9);
  EXPECT_EQ(h.sink_.suppression, nullptr);
  h.hook_->ReportUsage({});
  EXPECT_THAT(h.sink_.lines, ElementsAre("log r over", "kill_store k",
                                         "log budget:events_per_call held 1"));
}

TEST(EventsBudgetTest, AnAuditPolicyHoldsNothingBack) {
  Harness h(
      {"defaults: {mode: audit}\nbudgets: {events_per_call: 1}\nrules: "
       "[{id: r, event: memory_grow, action: deny, when: 'true'}]\n"});
  h.Grow(1, 2);
  h.Grow(1, 2);
  h.End();
  h.hook_->ReportUsage({});
  EXPECT_THAT(h.sink_.lines,
              ElementsAre("allow r would deny", "allow r would deny",
                          "allow budget:events_per_call would log"));
}

TEST(CpuBudgetTest, EndsAreToldAndAuditIsMeasured) {
  Harness h({"budgets: {cpu_per_call: 20ms}\n"});
  EXPECT_EQ(h.hook_->budgets().cpu_per_call(), absl::Milliseconds(20));
  EXPECT_FALSE(h.hook_->measures_cpu());
  h.End(TrapCode::kProcessorTimeExceeded);
  EXPECT_THAT(h.sink_.lines, ElementsAre("trap budget:cpu_per_call"));
  EXPECT_EQ(h.sink_.message, "the call used up cpu_per_call, 20ms");

  Harness trial({"defaults: {mode: audit}\nbudgets: {cpu_per_call: 20ms}\n"});
  EXPECT_EQ(trial.hook_->budgets().cpu_per_call(), std::nullopt);
  EXPECT_TRUE(trial.hook_->measures_cpu());
  PolicyHook::Usage usage;
  usage.cpu = absl::Milliseconds(20);
  trial.hook_->ReportUsage(usage);
  EXPECT_THAT(trial.sink_.lines, IsEmpty());
  usage.cpu = absl::Milliseconds(21);
  trial.hook_->ReportUsage(usage);
  EXPECT_THAT(trial.sink_.lines,
              ElementsAre("allow budget:cpu_per_call would trap"));
}

TEST(HandlesBudgetTest, ARefusalIsToldOncePerCall) {
  Harness h({"budgets: {open_handles: 2}\n"});
  h.hook_->ReportHandle(2, false);
  EXPECT_THAT(h.sink_.lines, IsEmpty());
  h.hook_->ReportHandle(3, true);
  h.hook_->ReportHandle(3, true);
  EXPECT_THAT(h.sink_.lines, ElementsAre("deny budget:open_handles"));
  EXPECT_EQ(h.sink_.message,
            "no more handles may be open at once: open_handles is 2");
  h.End();
  h.Begin();
  h.hook_->ReportHandle(3, true);
  EXPECT_EQ(h.sink_.lines.size(), 2u);

  Harness kill({"budgets: {open_handles: 2, on_exceed: kill_store}\n"});
  kill.hook_->ReportHandle(3, true);
  EXPECT_NE(kill.hook_->latched(), nullptr);

  Harness trial({"defaults: {mode: audit}\nbudgets: {open_handles: 2}\n"});
  trial.hook_->ReportHandle(2, false);
  EXPECT_THAT(trial.sink_.lines, IsEmpty());
  trial.hook_->ReportHandle(3, false);
  EXPECT_THAT(trial.sink_.lines,
              ElementsAre("allow budget:open_handles would deny"));
}

TEST(StackBudgetTest, IsNamedAsTheEngineBoundsIt) {
  Harness h({"budgets: {stack_bytes: 65536, call_depth: 100}\n"});
  PolicyHook::Arming arming;
  arming.stack = Budget::kStackBytes;
  h.hook_->ArmCall(arming);
  h.End(TrapCode::kCallStackExhausted);
  EXPECT_THAT(h.sink_.lines, ElementsAre("trap budget:stack_bytes"));
}

TEST(CallRingTest, IsKeptWhereSomethingCouldAlert) {
  struct Row {
    const char* body;
    bool kept;
  };
  const Row rows[] = {
      {"", false},
      {"rules: [{id: r, when: 'true', action: log}]\n", false},
      {"rules: [{id: r, when: 'true', action: deny}]\n", false},
      {"rules: [{id: r, when: 'true', action: alert}]\n", true},
      {"rules: [{id: r, when: 'true', action: trap}]\n", true},
      {"rules: [{id: r, event: memory_grow, when: 'true', action: "
       "kill_store}]\n",
       true},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(Harness({row.body}).hook_->call_ring() != nullptr, row.kept)
        << row.body;
  }
}

}  // namespace
}  // namespace callgate::policy
