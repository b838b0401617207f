#include "policy/trial/replay.h"

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/fake_call.h"
#include "policy/trial/recording_hook.h"

namespace callgate::policy::trial {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kPolicy[] = R"(api_version: callgate.policy/v1
kind: Policy
metadata: { name: web }
budgets: { host_calls_per_call: 9 }
imports:
  - import: net.send
    action: allow
    args: [ { name: data, index: 0, type: bytes, len_index: 1, redact: false } ]
  - { id: token, import: net.send, action: deny, when: 'args.data.contains(b"TOKEN")' }
  - { id: watch, import: fs.open, action: log, when: 'args.path == "/config/a"' }
  - { import: fs.open, action: allow }
rate_limits:
  - { id: rate, import: net.send, refill_per_second: 1, burst: 3, action: deny }
rules:
  - { id: evil, when: 'call.caller == "evil"', action: kill_store }
)";

std::shared_ptr<const Policy> Compile(const std::string& text) {
  CompileResult compiled = CompilePolicyText(text, "web.yaml");
  for (const Problem& problem : compiled.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  return compiled.policy;
}

class MemorySink final : public TraceSink {
 public:
  absl::Status Append(absl::string_view bytes) override {
    if (bytes_.size() + bytes.size() > max_) {
      return absl::ResourceExhaustedError("full");
    }
    absl::StrAppend(&bytes_, bytes);
    return absl::OkStatus();
  }
  const std::string& bytes() const { return bytes_; }
  void set_max(size_t max) { max_ = max; }

 private:
  std::string bytes_;
  size_t max_ = ~size_t{0};
};

class NoSink final : public DecisionSink {
 public:
  void OnDecision(const DecisionRecord&) override { ++decisions; }
  void OnEngineFault(const StoreFacts&, absl::string_view what) override {
    ADD_FAILURE() << what;
  }
  void OnDecisionDuration(absl::Duration) override { ++durations; }
  void OnRuleDuration(absl::string_view, absl::string_view, absl::Duration,
                      uint64_t) override {
    ++durations;
  }
  int decisions = 0;
  int durations = 0;
};

class Handles final : public HandleNames {
 public:
  std::optional<absl::string_view> PathOf(const FunctionIdentity&,
                                          uint64_t handle) override {
    if (handle != 3) return std::nullopt;
    return absl::string_view("/config");
  }
  void RefuseLinks(const FunctionIdentity&) override {}
};

// A Store with a recorder, as a daemon would have it.
class RecordedStore {
 public:
  RecordedStore(TraceRecorder& recorder, std::shared_ptr<const Policy> policy,
                std::string id)
      : recording_(
            recorder, sink_, &handles_,
            {[this] { return now_ += absl::Nanoseconds(1); }, absl::Now}) {
    PolicyHook::Options options;
    options.handles = &handles_;
    options.wall_clock = RecordingHook::WallClock;
    hook_ = std::make_unique<PolicyHook>(
        std::vector<std::shared_ptr<const Policy>>{policy},
        StoreFacts{std::move(id), "acme", "sha256:00", "m"}, recording_.clock(),
        recording_, options);
    recording_.Attach(*hook_, {{"class", "web"}}, [](uint32_t) {
      return std::vector<std::string>{"parse_header", "exported"};
    });
    send_type_.params = {ValType::kI32, ValType::kI32};
    send_type_.results = {ValType::kI32};
    send_spec_.errno_result = true;
    Bind("net", "send", send_type_, send_spec_);
    open_type_.params = {ValType::kI32, ValType::kI32, ValType::kI32};
    open_type_.results = {ValType::kI32};
    open_spec_.errno_result = true;
    ArgSpec path;
    path.name = "path";
    path.index = 1;
    path.kind = ArgKind::kPath;
    path.len_index = 2;
    path.dir_index = 0;
    open_spec_.args.push_back(path);
    Bind("fs", "open", open_type_, open_spec_);
    // As if installed: whoever is linked is asked about first.
    for (FunctionIdentity& function : functions_) recording_.OnLink(function);
  }

  void BeginCall() {
    FakeCall call(Transition::kCallingWasm, export_);
    recording_.OnTransition(call);
  }
  void Send(const std::string& data, std::string caller = "main") {
    std::vector<uint8_t> memory(65536);
    std::copy(data.begin(), data.end(), memory.begin() + 8);
    Call(0, {RawValue::I32(8), RawValue::I32(Size(data))}, &memory,
         std::move(caller));
  }
  void Open(const std::string& path) {
    std::vector<uint8_t> memory(65536);
    std::copy(path.begin(), path.end(), memory.begin() + 8);
    Call(1, {RawValue::I32(3), RawValue::I32(8), RawValue::I32(Size(path))},
         &memory, "main");
  }
  void EndCall(std::optional<TrapCode> code = std::nullopt) {
    FakeCall call(Transition::kReturningFromWasm, export_);
    std::optional<Trap> trap;
    if (code) call.WithTrap(trap.emplace(*code, std::vector<Frame>()));
    recording_.OnTransition(call);
  }
  GrowthAnswer Grow(uint64_t from, uint64_t to, uint64_t store_bytes) {
    GrowthEvent event;
    event.current = from;
    event.desired = to;
    event.allowed = true;
    event.store_bytes = store_bytes;
    event.fuel_used = fuel_used_;
    return recording_.OnGrowth(event);
  }
  // A function that is parse_header, and exported under another name.
  EntryAnswer Parse(int32_t size) {
    parse_.name = "parse_header";
    parse_.func_index = 5;
    parse_.type = &parse_type_;
    const std::vector<RawValue> args = {
        RawValue::I32(static_cast<uint32_t>(size))};
    const auto caller = [] { return CallerFrame{9, "main", "m"}; };
    return recording_.OnFunctionEnter(
        FunctionEntry{parse_, args, 1, caller, fuel_used_, 65536});
  }
  void Replace(std::shared_ptr<const Policy> policy) {
    hook_->Replace({std::move(policy)});
  }
  void TakeOver() { hook_->TakeOver(); }
  void SetFuel(uint64_t used, std::optional<uint64_t> left = std::nullopt) {
    fuel_used_ = used;
    fuel_left_ = left;
  }
  void Wait(absl::Duration duration) { now_ += duration; }
  const NoSink& sink() const { return sink_; }

 private:
  static uint32_t Size(const std::string& text) {
    return static_cast<uint32_t>(text.size());
  }
  void Bind(absl::string_view module, absl::string_view name,
            const FuncType& type, const HostFunctionSpec& spec) {
    FunctionIdentity& function = functions_.emplace_back();
    function.module = module;
    function.name = name;
    function.type = &type;
    function.spec = &spec;
    function.binding = static_cast<uint32_t>(functions_.size() - 1);
  }
  void Call(size_t binding, std::vector<RawValue> args,
            std::vector<uint8_t>* memory, std::string caller) {
    now_ += absl::Milliseconds(1);
    FakeCall enter(Transition::kCallingHost, functions_[binding], args);
    enter.WithMemory(memory).WithCaller(std::move(caller));
    Fill(enter);
    const Disposition disposition = recording_.OnTransition(enter);
    if (disposition == Disposition::kRefuse) return;
    const std::vector<RawValue> results =
        disposition == Disposition::kAnswer
            ? enter.answer()
            : std::vector<RawValue>{RawValue::I32(0)};
    FakeCall leave(Transition::kReturningFromHost, functions_[binding], args);
    leave.WithResults(results, disposition == Disposition::kAnswer
                                   ? Ending::kAnswered
                                   : Ending::kValue);
    fuel_used_ += 10;
    Fill(leave);
    recording_.OnTransition(leave);
  }
  void Fill(FakeCall& call) {
    EXPECT_TRUE(call.fuel().Consume(fuel_used_).ok());
    EXPECT_TRUE(call.fuel().Set(fuel_left_).ok());
  }

  absl::Time now_ = absl::UnixEpoch() + absl::Seconds(1000);
  NoSink sink_;
  Handles handles_;
  FuncType send_type_;
  HostFunctionSpec send_spec_;
  FuncType open_type_;
  HostFunctionSpec open_spec_;
  FunctionIdentity export_;
  uint64_t fuel_used_ = 0;
  std::optional<uint64_t> fuel_left_;
  FuncType parse_type_ = {{ValType::kI32}, {}};
  ProbedFunction parse_;
  std::deque<FunctionIdentity> functions_;
  std::unique_ptr<PolicyHook> hook_;
  RecordingHook recording_;
};

ReplayReport ReplayOf(const std::string& trace,
                      std::shared_ptr<const Policy> policy,
                      absl::Time since = absl::InfinitePast()) {
  TraceReader reader(trace);
  ReplayOptions options;
  options.since = since;
  options.judges = [&](const ReplayedStore&) {
    return ReplayJudges{{policy}, false};
  };
  ReplayReport report;
  const absl::Status status = Replay(reader, options, &report);
  EXPECT_TRUE(status.ok()) << status;
  return report;
}

std::string RecordedRun(const std::string& policy_text = kPolicy) {
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  EXPECT_TRUE(recorder.Start(sink).ok());
  {
    const auto policy = Compile(policy_text);
    RecordedStore one(recorder, policy, "s1");
    RecordedStore two(recorder, policy, "s2");
    one.BeginCall();
    two.BeginCall();
    for (int i = 0; i < 5; ++i) {
      one.Send(absl::StrCat("hello ", i));
      two.Open(i % 2 == 0 ? "a" : "b");
    }
    one.Wait(absl::Seconds(10));
    one.Send("a TOKEN");
    one.Send("fine again");
    two.Send("anything", "evil");
    two.Send("too late");
  }
  recorder.Stop();
  return sink->bytes();
}

// The same verdicts as when it happened, and the same report each time.
TEST(ReplayTest, SameTraceAndPolicyGiveTheSameVerdictsByteForByte) {
  const std::string trace = RecordedRun();
  const ReplayReport first = ReplayOf(trace, Compile(kPolicy));
  EXPECT_EQ(first.changed, 0u) << first.ToString();
  EXPECT_GT(first.events, 20u);
  EXPECT_EQ(first.stores, 2u);
  EXPECT_GT(first.before.at(Verdict::kDeny), 2u);
  EXPECT_EQ(first.before.at(Verdict::kKillStore), 2u);
  EXPECT_EQ(first.before.at(Verdict::kLog), 3u);
  EXPECT_EQ(first.before, first.after);
  const std::string text = first.ToString();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ReplayOf(trace, Compile(kPolicy)).ToString(), text);
  }
}

TEST(ReplayTest, SaysEachVerdictThatChangesAndTheTotals) {
  const ReplayReport report = ReplayOf(
      RecordedRun(),
      Compile(absl::StrReplaceAll(
          kPolicy, {{"burst: 3", "burst: 4"},
                    {"action: log, when: 'args.path == \"/config/a\"'",
                     "action: trap, when: 'args.path == \"/config/b\"'"}})));
  std::vector<std::string> lines;
  for (const ReplayChange& change : report.changes) {
    lines.push_back(change.ToString());
  }
  // Two opens of b, three of a; one send more.
  EXPECT_EQ(report.changed, 6u) << report.ToString();
  EXPECT_THAT(lines, testing::Contains(HasSubstr(
                         "Store s2 of acme, fs.open: was log by web/watch, "
                         "would be allow")));
  EXPECT_THAT(lines, testing::Contains(HasSubstr(
                         "Store s2 of acme, fs.open: was allow, would be trap "
                         "by web/watch (fs.open is not allowed)")));
  EXPECT_THAT(lines, testing::Contains(HasSubstr(
                         "Store s1 of acme, net.send: was deny(6) by web/rate, "
                         "would be allow")));
  EXPECT_THAT(report.ToString(), HasSubstr("log -> allow: 3\n"));
  EXPECT_THAT(report.ToString(), HasSubstr("allow -> trap: 2\n"));
  EXPECT_THAT(report.ToString(), HasSubstr("events of 2 Stores, 6 changed, "));
}

TEST(ReplayTest, WhatIsRedactedIsNotInTheTraceAndMarksWhatDependsOnIt) {
  const std::string hidden =
      absl::StrReplaceAll(kPolicy, {{"redact: false", "redact: true"}});
  const std::string trace = RecordedRun(hidden);
  EXPECT_FALSE(absl::StrContains(trace, "TOKEN"));
  EXPECT_FALSE(absl::StrContains(trace, "hello"));
  EXPECT_TRUE(absl::StrContains(RecordedRun(), "TOKEN"));
  const ReplayReport report = ReplayOf(trace, Compile(hidden));
  // The token is not seen any more.
  ASSERT_EQ(report.changed, 1u) << report.ToString();
  EXPECT_TRUE(report.changes[0].uncertain);
  EXPECT_EQ(report.changes[0].before.rule, "token");
}

TEST(ReplayTest, OnlyEventsSinceATimeCount) {
  const std::string trace = RecordedRun();
  EXPECT_EQ(
      ReplayOf(trace, Compile(kPolicy), absl::Now() + absl::Hours(1)).events,
      0u);
  EXPECT_GT(
      ReplayOf(trace, Compile(kPolicy), absl::Now() - absl::Hours(1)).events,
      0u);
}

TEST(ReplayTest, StoresThatNoPolicyIsForAreLeftOut) {
  const std::string trace = RecordedRun();
  TraceReader reader(trace);
  ReplayOptions options;
  options.judges = [](const ReplayedStore& store) -> ReplayJudges {
    EXPECT_THAT(store.before,
                testing::ElementsAre(testing::StartsWith("web@")));
    if (store.facts.store_id == "s1") return {};
    return {{Compile(kPolicy)}, false};
  };
  ReplayReport report;
  ASSERT_TRUE(Replay(reader, options, &report).ok());
  EXPECT_EQ(report.stores, 2u);
  EXPECT_EQ(report.stores_skipped, 1u);
  EXPECT_GT(report.events_skipped, 10u);
  EXPECT_EQ(report.changed, 0u);
}

TEST(ReplayTest, GivesUpWhenAsked) {
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  ASSERT_TRUE(recorder.Start(sink).ok());
  {
    RecordedStore store(recorder, Compile(kPolicy), "s");
    for (int i = 0; i < 5000; ++i) store.Open("a");
  }
  TraceReader reader(sink->bytes());
  ReplayOptions options;
  options.judges = [](const ReplayedStore&) {
    return ReplayJudges{{Compile(kPolicy)}, false};
  };
  options.keep_going = [] { return false; };
  ReplayReport report;
  EXPECT_EQ(Replay(reader, options, &report).code(),
            absl::StatusCode::kCancelled);
}

// --- What happens inside, and policies that change ---------------------------

constexpr char kInner[] = R"(api_version: callgate.policy/v1
kind: Policy
metadata: { name: web }
budgets: { memory_bytes_total: 1000000, fuel_per_call: 5000 }
imports:
  - { import: net.send, action: allow }
  - { import: fs.open, action: allow }
  - { id: burnt, import: net.send, action: deny, when: 'store.fuel_used > 1000' }
  - { id: grown, import: fs.open, action: log, when: 'store.memory_bytes > 65535 && store.calls > 2' }
  - { id: after, import: fs.open, action: alert, when: 'result.errno == 0 && store.fuel_used > 1300' }
rules:
  - { id: pressure, event: memory_grow, when: 'store.memory_bytes > 400 || store.fuel_used == 1234', action: throttle, throttle: { base_delay: 10ms, factor: 2, max_delay: 1s, cool_down: 1s } }
  - { id: large, event: memory_grow, when: 'grow.requested > 5000', action: deny }
  - { id: parse, event: function, function: 'parse_*', when: 'args.p0 > 100 && call.caller == "main"', action: log }
  - { id: huge, event: function, function: 'parse_*', when: 'args.p0 > 1000', action: trap }
)";

std::string InnerRun() {
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  EXPECT_TRUE(recorder.Start(sink).ok());
  {
    RecordedStore store(recorder, Compile(kInner), "s1");
    store.BeginCall();
    store.Send("a");
    for (int i = 0; i < 4; ++i) store.Open("a");
    EXPECT_GT(store.Grow(0, 100, 500).delay, absl::ZeroDuration());
    EXPECT_GT(store.Grow(100, 200, 600).delay, absl::Milliseconds(10));
    store.Wait(absl::Seconds(5));
    store.SetFuel(1234);
    EXPECT_GT(store.Grow(0, 1, 1).delay, absl::ZeroDuration());
    EXPECT_FALSE(store.Grow(0, 6000, 1).allow);
    EXPECT_FALSE(store.Grow(0, 2000, 999'000).allow);
    store.Send("burnt");
    store.SetFuel(1295);
    store.Open("a");
    EXPECT_EQ(store.Parse(5).error, nullptr);
    EXPECT_EQ(store.Parse(500).error, nullptr);
    EXPECT_NE(store.Parse(5000).error, nullptr);
    store.EndCall(TrapCode::kOutOfFuel);
  }
  recorder.Stop();
  return sink->bytes();
}

TEST(ReplayTest, GrowthsFunctionsAndFuelGiveTheSameVerdictsByteForByte) {
  const std::string trace = InnerRun();
  const ReplayReport first = ReplayOf(trace, Compile(kInner));
  EXPECT_EQ(first.changed, 0u) << first.ToString();
  EXPECT_EQ(first.before.at(Verdict::kThrottle), 3u);
  EXPECT_EQ(first.before.at(Verdict::kDeny), 3u);   // burnt at one end
  EXPECT_EQ(first.before.at(Verdict::kAlert), 1u);  // after
  EXPECT_EQ(first.before.at(Verdict::kTrap), 2u);   // huge, and the fuel
  EXPECT_EQ(first.before, first.after);
  EXPECT_EQ(ReplayOf(trace, Compile(kInner)).ToString(), first.ToString());

  // By the name under which it is exported, too.
  const ReplayReport other = ReplayOf(
      trace, Compile(absl::StrReplaceAll(
                 kInner, {{"function: 'parse_*', when: 'args.p0 > 1000'",
                           "function: 'exp*', when: 'args.p0 > 3'"},
                          {"grow.requested > 5000", "grow.requested > 50"}})));
  std::vector<std::string> lines;
  for (const ReplayChange& change : other.changes) {
    lines.push_back(change.ToString());
  }
  EXPECT_THAT(lines, testing::Contains(HasSubstr(
                         "function parse_header: was allow, would be trap by "
                         "web/huge")));
  EXPECT_THAT(lines, testing::Contains(HasSubstr(
                         "function parse_header: was log by web/parse, would "
                         "be trap by web/huge")));
  EXPECT_THAT(lines, testing::Contains(HasSubstr(
                         "memory_grow: was throttle(10ms) by web/pressure, "
                         "would be deny(0) by web/large")));
}

TEST(ReplayTest, AReloadInTheMiddleGivesTheSameVerdictsByteForByte) {
  const auto first = Compile(kPolicy);
  // Runs after the call, redacts, and has the rate limit as it was.
  const auto second = Compile(absl::StrReplaceAll(
      kPolicy, {{"when: 'args.path == \"/config/a\"'",
                 "when: 'result.errno == 0 && args.path == \"/config/b\"'"},
                {"redact: false", "redact: true"}}));
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  ASSERT_TRUE(recorder.Start(sink).ok());
  {
    RecordedStore one(recorder, first, "s1");
    RecordedStore two(recorder, first, "s2");
    for (RecordedStore* store : {&one, &two}) {
      store->BeginCall();
      store->Send("VISIBLE");
      store->Send("VISIBLE");
      store->Open("a");
    }
    // At its next host call, and between two calls.
    one.Replace(second);
    two.Replace(second);
    two.EndCall();
    two.TakeOver();
    two.BeginCall();
    for (RecordedStore* store : {&one, &two}) {
      store->Open("a");
      store->Open("b");
      store->Send("SECRET");
      store->Send("SECRET");
    }
    one.Replace(first);
    one.Open("a");
  }
  recorder.Stop();
  const std::string trace = sink->bytes();
  EXPECT_TRUE(absl::StrContains(trace, "VISIBLE"));
  EXPECT_FALSE(absl::StrContains(trace, "SECRET"));

  TraceReader reader(trace);
  ReplayOptions options;
  std::vector<std::string> asked;
  options.judges = [&](const ReplayedStore& store) {
    EXPECT_EQ(store.module_labels.at("class"), "web");
    asked.push_back(store.facts.store_id);
    EXPECT_EQ(store.before.size(), 1u);
    const bool is_second =
        store.before[0] == absl::StrCat("web@", second->short_version());
    return ReplayJudges{{is_second ? second : first}, false};
  };
  ReplayReport report;
  ASSERT_TRUE(Replay(reader, options, &report).ok());
  EXPECT_EQ(report.changed, 0u) << report.ToString();
  EXPECT_EQ(report.before.at(Verdict::kLog), 5u);  // 3 of a, 2 of b
  // One send of each is over the rate, which went on.
  EXPECT_EQ(report.before.at(Verdict::kDeny), 2u) << report.ToString();
  EXPECT_THAT(asked,
              testing::UnorderedElementsAre("s1", "s2", "s1", "s2", "s1"));
  // With the first alone, all opens of b after it are allowed.
  EXPECT_EQ(ReplayOf(trace, first).changed, 4u)
      << ReplayOf(trace, first).ToString();
}

TEST(ReplayTest, AStoreMayComeAndGoWithItsPolicies) {
  const auto policy = Compile(kPolicy);
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  ASSERT_TRUE(recorder.Start(sink).ok());
  {
    RecordedStore store(recorder, policy, "s");
    store.BeginCall();
    store.Open("a");
    store.Replace(
        Compile(absl::StrReplaceAll(kPolicy, {{"name: web", "name: other"}})));
    store.Open("a");
    store.Replace(policy);
    store.Open("a");
  }
  recorder.Stop();
  TraceReader reader(sink->bytes());
  ReplayOptions options;
  options.judges = [&](const ReplayedStore& store) -> ReplayJudges {
    if (!absl::StartsWith(store.before[0], "web@")) return {};
    return {{policy}, false};
  };
  ReplayReport report;
  ASSERT_TRUE(Replay(reader, options, &report).ok());
  EXPECT_EQ(report.changed, 0u) << report.ToString();
  EXPECT_EQ(report.events, 4u);
  EXPECT_EQ(report.events_skipped, 2u);
  EXPECT_EQ(report.stores, 1u);
  EXPECT_EQ(report.stores_skipped, 0u);
}

// A call that the hook refuses without a verdict has no leave either.
TEST(ReplayTest, CallsThatCannotBePaidAreReplayed) {
  const std::string priced = absl::StrReplaceAll(
      kInner, {{"fuel_per_call: 5000",
                "fuel_per_call: 5000, host_call_price: [ { import: fs.open, "
                "base: 100 } ]"}});
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  ASSERT_TRUE(recorder.Start(sink).ok());
  const size_t calls = kTraceDepthMax + 10;
  {
    RecordedStore store(recorder, Compile(priced), "s");
    for (size_t i = 0; i < calls; ++i) {
      store.BeginCall();
      store.SetFuel(0, 150);
      store.Open("a");
      store.SetFuel(0, 99);
      store.Open("a");
      store.EndCall(TrapCode::kOutOfFuel);
    }
  }
  recorder.Stop();
  const ReplayReport report = ReplayOf(sink->bytes(), Compile(priced));
  EXPECT_EQ(report.changed, 0u) << report.ToString();
  EXPECT_EQ(report.before.at(Verdict::kTrap), calls);
  const ReplayReport free = ReplayOf(sink->bytes(), Compile(kInner));
  EXPECT_EQ(free.changed, calls);
  EXPECT_THAT(free.changes[0].ToString(),
              HasSubstr("fs.open: was allow, stopped for want of fuel, would "
                        "be allow"));
}

// There is no profile here, neither then nor now.
TEST(ReplayTest, RulesOnAnomaliesStopNothingThatTheyLetGoThen) {
  constexpr char kAnomaly[] =
      "anomaly:\n  - { id: shape, when_no_profile: deny, thresholds: [ { when: "
      "'score.frame >= 2', action: alert } ] }\n";
  const auto with = Compile(absl::StrCat(kPolicy, kAnomaly));
  const std::string trace = RecordedRun();
  EXPECT_EQ(ReplayOf(trace, with).changed, 0u)
      << ReplayOf(trace, with).ToString();
  // Where they stopped calls they do so again, and what is not known is marked.
  const std::string stopped = RecordedRun(absl::StrCat(kPolicy, kAnomaly));
  const ReplayReport again = ReplayOf(stopped, with);
  EXPECT_EQ(again.changed, 0u) << again.ToString();
  EXPECT_GT(again.before.at(Verdict::kDeny), 5u);
  const auto allowing = Compile(absl::StrReplaceAll(
      absl::StrCat(kPolicy, kAnomaly),
      {{"when_no_profile: deny", "when_no_profile: allow"}}));
  const ReplayReport other = ReplayOf(stopped, allowing);
  EXPECT_GT(other.changed, 5u);
  EXPECT_EQ(other.uncertain, other.changed);
}

TEST(ReplayTest, WhatAStoreDidBeforeIsNotKnown) {
  TraceRecorder recorder;
  const auto policy = Compile(kPolicy);
  RecordedStore store(recorder, policy, "s");
  store.BeginCall();
  for (int i = 0; i < 3; ++i) store.Send("a");
  auto sink = std::make_shared<MemorySink>();
  ASSERT_TRUE(recorder.Start(sink).ok());
  store.Send("over the rate");
  recorder.Stop();
  const ReplayReport report = ReplayOf(sink->bytes(), policy);
  ASSERT_EQ(report.changed, 1u) << report.ToString();
  EXPECT_TRUE(report.changes[0].uncertain);
  // How many calls there were is.
  const auto counting = Compile(absl::StrReplaceAll(
      kPolicy, {{"call.caller == \"evil\"", "store.calls == 3"}}));
  EXPECT_EQ(ReplayOf(sink->bytes(), counting).after.count(Verdict::kKillStore),
            1u);
}

TEST(ReplayTest, RulesRememberWhatWasBeforeTheTimeThatCounts) {
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  ASSERT_TRUE(recorder.Start(sink).ok());
  absl::Time since;
  {
    RecordedStore store(recorder, Compile(kPolicy), "s");
    store.BeginCall();
    for (int i = 0; i < 3; ++i) store.Send("a");
    since = absl::Now();
    store.Send("over the rate");
  }
  recorder.Stop();
  const ReplayReport report = ReplayOf(sink->bytes(), Compile(kPolicy), since);
  EXPECT_EQ(report.events, 2u);
  EXPECT_EQ(report.changed, 0u) << report.ToString();
  EXPECT_EQ(report.before.at(Verdict::kDeny), 1u);
}

// --- The recorder ------------------------------------------------------------

TEST(RecordingHookTest, BeginsInTheMiddleOfAStoresLife) {
  TraceRecorder recorder;
  const auto policy = Compile(kPolicy);
  RecordedStore store(recorder, policy, "s");
  store.BeginCall();
  store.Open("a");
  auto first = std::make_shared<MemorySink>();
  ASSERT_TRUE(recorder.Start(first).ok());
  EXPECT_EQ(recorder.Start(std::make_shared<MemorySink>()).code(),
            absl::StatusCode::kFailedPrecondition);
  store.Open("a");
  EXPECT_EQ(recorder.Stop(), first);
  store.Open("a");
  auto second = std::make_shared<MemorySink>();
  ASSERT_TRUE(recorder.Start(second).ok());
  store.Open("b");
  store.Open("a");
  recorder.Stop();
  EXPECT_EQ(ReplayOf(first->bytes(), policy).events, 2u);
  EXPECT_EQ(ReplayOf(first->bytes(), policy).changed, 0u);
  EXPECT_EQ(ReplayOf(second->bytes(), policy).events, 4u);
  EXPECT_EQ(ReplayOf(second->bytes(), policy).changed, 0u);
  // The sink hears everything, recorded or not.
  EXPECT_EQ(store.sink().decisions, 4);
}

// Time stands still for a decision that is written down, so nothing is told of
// how long it took; of all others it is.
TEST(RecordingHookTest, DurationsAreToldWhereTheyAreTrue) {
  TraceRecorder recorder;
  RecordedStore watched(recorder, Compile(kPolicy), "s");
  watched.BeginCall();
  watched.Open("a");  // the first of a Store is a sample
  EXPECT_GE(watched.sink().durations, 2);
  ASSERT_TRUE(recorder.Start(std::make_shared<MemorySink>()).ok());
  RecordedStore recorded(recorder, Compile(kPolicy), "r");
  recorded.BeginCall();
  recorded.Open("a");
  EXPECT_EQ(recorded.sink().durations, 0);
}

TEST(RecordingHookTest, AFullSinkEndsTheRecordingAndNotTheGuest) {
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  sink->set_max(700);
  ASSERT_TRUE(recorder.Start(sink).ok());
  RecordedStore store(recorder, Compile(kPolicy), "s");
  for (int i = 0; i < 100; ++i) store.Open("a");
  EXPECT_FALSE(recorder.recording());
  EXPECT_EQ(recorder.end().message(), "full");
  EXPECT_EQ(store.sink().decisions, 100);
  const ReplayReport report = ReplayOf(sink->bytes(), Compile(kPolicy));
  EXPECT_GT(report.events, 2u);
  EXPECT_FALSE(report.cut_off);
  // It is still there to be fetched.
  EXPECT_EQ(recorder.Stop(), sink);
}

// Threads take turns, so a trace has one order and every Store's own within it.
TEST(RecordingHookTest, StoresOnManyThreadsGiveOneTrace) {
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  ASSERT_TRUE(recorder.Start(sink).ok());
  constexpr int kThreads = 4;
  constexpr int kCalls = 200;
  {
    const auto policy = Compile(kPolicy);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&recorder, policy, t] {
        RecordedStore store(recorder, policy, absl::StrCat("s", t));
        for (int i = 0; i < kCalls; ++i) {
          store.BeginCall();
          store.Open(i % 3 == 0 ? "a" : "b");
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  recorder.Stop();
  const ReplayReport report = ReplayOf(sink->bytes(), Compile(kPolicy));
  EXPECT_EQ(report.stores, uint64_t{kThreads});
  EXPECT_EQ(report.events, uint64_t{kThreads} * kCalls * 2);
  EXPECT_EQ(report.changed, 0u) << report.ToString();
}

}  // namespace
}  // namespace callgate::policy::trial
