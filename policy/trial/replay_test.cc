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
  int decisions = 0;
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
      : recording_(recorder, sink_, &handles_,
                   {[this] { return now_; }, absl::Now}) {
    PolicyHook::Options options;
    options.handles = &handles_;
    hook_ = std::make_unique<PolicyHook>(
        std::vector<std::shared_ptr<const Policy>>{policy},
        StoreFacts{std::move(id), "acme", "sha256:00", "m"},
        [this] { return now_; }, recording_, options);
    recording_.Attach(*hook_, {absl::StrCat("web@", policy->version())},
                      {policy});
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
    recording_.OnTransition(leave);
  }

  absl::Time now_ = absl::UnixEpoch() + absl::Seconds(1000);
  NoSink sink_;
  Handles handles_;
  FuncType send_type_;
  HostFunctionSpec send_spec_;
  FuncType open_type_;
  HostFunctionSpec open_spec_;
  FunctionIdentity export_;
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

TEST(RecordingHookTest, AFullSinkEndsTheRecordingAndNotTheGuest) {
  TraceRecorder recorder;
  auto sink = std::make_shared<MemorySink>();
  sink->set_max(700);
  ASSERT_TRUE(recorder.Start(sink).ok());
  RecordedStore store(recorder, Compile(kPolicy), "s");
  for (int i = 0; i < 100; ++i) store.Open("a");
  EXPECT_FALSE(recorder.recording());
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
