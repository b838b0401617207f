// Trying policies on a daemon: embedded tests at the door, traces, replays, and
// the reasons of decisions.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class TrialsTest : public testing::Test {
 protected:
  void SetUp() override { Start({"--trace-mib=8"}); }

  void Start(std::vector<std::string> flags) {
    daemon_ = nullptr;
    DaemonSetup setup;
    setup.data = scratch_.Path("data");
    setup.more_flags = std::move(flags);
    auto daemon = DaemonUnderTest::Start(setup);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
    Apply("open.yaml", kOpenPolicy);
    Apply("no-random.yaml", kNoRandomPolicy);
  }
  Finished Client(std::vector<std::string> arguments) {
    return daemon_->Client(std::move(arguments));
  }
  Finished Apply(const std::string& name, absl::string_view policy) {
    return Client({"policy", "apply", scratch_.Write(name, policy)});
  }
  std::string ModuleFile(absl::string_view bytes) {
    return scratch_.Write(absl::StrCat("modules/", ++modules_, ".wasm"), bytes);
  }

  ScratchDir scratch_;
  std::unique_ptr<DaemonUnderTest> daemon_;
  int modules_ = 0;
};

constexpr char kTested[] = R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: tested }
include: [wasi-preview1-base]
tests:
  - name: the clock is allowed
    events: [ { import: wasi_snapshot_preview1.clock_time_get } ]
    expect: [ { event: 0, verdict: %VERDICT% } ]
)yaml";

std::string Tested(absl::string_view verdict) {
  std::string text = kTested;
  text.replace(text.find("%VERDICT%"), 9, std::string(verdict));
  return text;
}

TEST_F(TrialsTest, APolicyWhoseTestsFailIsNotPutInForce) {
  const Finished failed = Apply("tested.yaml", Tested("deny"));
  EXPECT_THAT(failed, EndsWithCode(78));
  EXPECT_THAT(failed.err, HasSubstr("expected deny; it was allow"));
  EXPECT_THAT(Client({"policy", "ls"}).out, Not(HasSubstr("tested")));
  const Finished passed = Apply("tested.yaml", Tested("allow"));
  EXPECT_THAT(passed, EndsWithCode(0));
  EXPECT_THAT(Client({"policy", "ls"}).out, HasSubstr("tested"));
}

// The second policy, with "action: trap".
std::string Harder() {
  std::string harder = kNoRandomPolicy;
  harder.replace(harder.find("action: deny"), 12, "action: trap");
  harder.erase(harder.find("    guest_errno: 63\n"), 20);
  return harder;
}

TEST_F(TrialsTest, ATraceIsRecordedAndReplayed) {
  const Finished record = Client({"trace", "record", "--for", "5m"});
  ASSERT_THAT(record, EndsWithCode(0));
  const std::string name(absl::StripSuffix(record.out, "\n"));
  EXPECT_THAT(Client({"trace", "record"}), EndsWithCode(1));
  EXPECT_THAT(Client({"trace", "ls"}).out, HasSubstr("recording"));

  const std::string file = ModuleFile(ExitsWithErrnoOfRandomGet());
  EXPECT_THAT(Client({"run", file, "--policy", "no-random"}), EndsWithCode(63));
  EXPECT_EQ(Client({"trace", "stop"}).out, record.out);

  // The same policy says the same, twice in the same words.
  const std::string same = scratch_.Write("same.yaml", kNoRandomPolicy);
  const Finished first = Client({"policy", "replay", same, "--trace", name});
  ASSERT_THAT(first, EndsWithCode(0));
  EXPECT_THAT(first.out, HasSubstr(" events of 1 Stores, 0 changed, "));
  EXPECT_EQ(Client({"policy", "replay", same, "--trace", name}).out, first.out);
  EXPECT_EQ(Client({"policy", "replay", same, "--since", "1h"}).out, first.out);

  // Another one does not, and nothing changes by that.
  const Finished other =
      Client({"policy", "replay", scratch_.Write("other.yaml", Harder()),
              "--trace", name});
  ASSERT_THAT(other, EndsWithCode(0));
  EXPECT_THAT(other.out,
              HasSubstr("wasi_snapshot_preview1.random_get: was deny(63) by "
                        "no-random/dice-are-out, would be trap by "
                        "no-random/dice-are-out"));
  EXPECT_THAT(other.out, HasSubstr("deny -> trap: 1\n"));
  EXPECT_THAT(Client({"run", file, "--policy", "no-random"}), EndsWithCode(63));

  // A policy that was not among them is for none of its Stores.
  const std::string open = scratch_.Write("open2.yaml", kOpenPolicy);
  EXPECT_THAT(Client({"policy", "replay", open, "--trace", name}).out,
              HasSubstr("left out: "));
  EXPECT_THAT(
      Client({"policy", "replay", open, "--trace", name, "--alone"}).out,
      HasSubstr("deny -> allow: 1\n"));

  EXPECT_THAT(
      Client({"policy", "replay", same, "--trace", "20200101T000000-1"}).err,
      HasSubstr("there is no trace 20200101T000000-1"));
  EXPECT_THAT(Client({"policy", "replay", same}), EndsWithCode(64));
  EXPECT_THAT(Client({"trace", "rm", name}), EndsWithCode(0));
  EXPECT_THAT(Client({"trace", "ls"}).out, Not(HasSubstr(name)));
  EXPECT_THAT(Client({"events"}).out, HasSubstr("trace_started"));
}

TEST_F(TrialsTest, AnApplyMayHaveToPassAReplay) {
  const std::string harder = scratch_.Write("harder.yaml", Harder());
  const Finished empty =
      Client({"policy", "apply", harder, "--replay-since", "1h"});
  EXPECT_THAT(empty, EndsWithCode(78));
  EXPECT_THAT(empty.err, HasSubstr("nothing that was recorded in the last 1h"));
  const Finished unknown =
      Client({"policy", "apply", harder, "--replay", "20200101T000000-1"});
  EXPECT_THAT(unknown, EndsWithCode(1));
  EXPECT_THAT(unknown.err, HasSubstr("there is no trace 20200101T000000-1"));
  EXPECT_THAT(Client({"policy", "apply", harder, "--max-changed", "3"}),
              EndsWithCode(64));
  EXPECT_THAT(Client({"policy", "apply", harder, "--replay", "x",
                      "--replay-since", "1h"}),
              EndsWithCode(64));
  EXPECT_THAT(Client({"policy", "apply", harder, "--replay-since", "1h",
                      "--max-changed", "x"}),
              EndsWithCode(64));

  const std::string name(
      absl::StripSuffix(Client({"trace", "record"}).out, "\n"));
  const std::string file = ModuleFile(ExitsWithErrnoOfRandomGet());
  EXPECT_THAT(Client({"run", file, "--policy", "no-random"}), EndsWithCode(63));
  Client({"trace", "stop"});

  const std::string before = Client({"policy", "show", "no-random"}).out;
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"--replay", name},
        std::vector<std::string>{"--replay-since", "1h"}}) {
    std::vector<std::string> arguments = {"policy", "apply", harder};
    arguments.insert(arguments.end(), how.begin(), how.end());
    const Finished refused = Client(arguments);
    EXPECT_THAT(refused, EndsWithCode(78));
    EXPECT_EQ(refused.out, "");
    EXPECT_THAT(refused.err, HasSubstr("the policy was not applied: 1 of "));
    EXPECT_THAT(refused.err,
                HasSubstr(absl::StrCat("trace ", name, ", event ")));
    EXPECT_THAT(refused.err,
                HasSubstr("wasi_snapshot_preview1.random_get: was deny(63) by "
                          "no-random/dice-are-out, would be trap by "
                          "no-random/dice-are-out"));
    EXPECT_EQ(Client({"policy", "show", "no-random"}).out, before);
  }
  const Finished passed = Client(
      {"policy", "apply", harder, "--replay", name, "--max-changed", "1"});
  EXPECT_THAT(passed, EndsWithCode(0));
  EXPECT_THAT(passed.out, HasSubstr("no-random@"));
  EXPECT_THAT(passed.err, HasSubstr(": 1 would be judged otherwise"));
  EXPECT_THAT(Client({"policy", "show", "no-random"}).out,
              HasSubstr("action: trap"));
  // What says the same passes as it is.
  const std::string same =
      scratch_.Write("same.yaml", absl::StrCat(Harder(), "exceptions: []\n"));
  EXPECT_THAT(Client({"policy", "apply", same, "--replay", name}),
              EndsWithCode(0));
}

TEST_F(TrialsTest, TheDirectoryMayHaveToPassAReplay) {
  const std::string file =
      scratch_.Write("policies/no-random.yaml", kNoRandomPolicy);
  const std::vector<std::string> flags = {
      "--trace-mib=8", "--policy-dir=" + scratch_.Path("policies"),
      "--policy-replay=1h"};
  Start(flags);
  EXPECT_THAT(Client({"trace", "record"}), EndsWithCode(0));
  const std::string module = ModuleFile(ExitsWithErrnoOfRandomGet());
  EXPECT_THAT(Client({"run", module, "--policy", "no-random"}),
              EndsWithCode(63));
  scratch_.Write("policies/no-random.yaml", Harder());
  const Finished refused = Client({"policy", "reload"});
  EXPECT_THAT(refused, EndsWithCode(78));
  EXPECT_THAT(refused.err,
              HasSubstr("would be trap by no-random/dice-are-out"));
  EXPECT_THAT(Client({"run", module, "--policy", "no-random"}),
              EndsWithCode(63));
  EXPECT_THAT(Client({"events"}).out, HasSubstr("policy_directory_refused"));
  // Nor does a restart bring it in.
  Start(flags);
  EXPECT_THAT(Client({"run", module, "--policy", "no-random"}),
              EndsWithCode(63));
  // Whoever wants it all the same starts without.
  Start({flags[0], flags[1]});
  EXPECT_THAT(Client({"run", module, "--policy", "no-random"}),
              EndsWithCode(134));
}

TEST_F(TrialsTest, Point24NobodyRecordsUnlessTheOperatorSaidSo) {
  Start({});
  const Finished record = Client({"trace", "record"});
  EXPECT_THAT(record, EndsWithCode(1));
  EXPECT_THAT(record.err, HasSubstr("start it with --trace-mib"));
}

TEST_F(TrialsTest, Point24ADecisionIsExplained) {
  EXPECT_THAT(Apply("watch.yaml", R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: watch }
include: [wasi-preview1-base]
imports:
  - { id: dice, import: wasi_snapshot_preview1.random_get, action: deny, when: 'args.len < 100', tags: [T1000] }
rules:
  - { id: deep, when: 'call.depth > 99', action: log }
)yaml"),
              EndsWithCode(0));
  Client({"run", ModuleFile(ExitsWithErrnoOfRandomGet()), "--policy", "watch"});
  const std::string events = Client({"events", "--output", "json"}).out;
  std::string id;
  for (const absl::string_view line : absl::StrSplit(events, '\n')) {
    const size_t at = line.find("\"decision_id\":\"");
    if (at == absl::string_view::npos) continue;
    const absl::string_view rest = line.substr(at + 15);
    id = std::string(rest.substr(0, rest.find('"')));
  }
  ASSERT_NE(id, "") << events;
  const Finished explained = Client({"policy", "explain", id});
  ASSERT_THAT(explained, EndsWithCode(0));
  EXPECT_THAT(explained.out,
              HasSubstr("wasi_snapshot_preview1.random_get: deny(76), by "
                        "watch/dice: "));
  EXPECT_THAT(explained.out, HasSubstr("watch/deep    false"));
  EXPECT_THAT(explained.out, HasSubstr("watch/dice    true"));
  EXPECT_THAT(explained.out, HasSubstr("args.len"));
  EXPECT_THAT(explained.out, HasSubstr("T1000"));
  EXPECT_THAT(Client({"policy", "explain", "s-0-1"}).err,
              HasSubstr("there is no decision s-0-1"));
}

// --- Inside the guest --------------------------------------------------------

// step(): enters parse, which is exported as parse_header, grows its memory by
// a page, and asks for random bytes.
std::string Grows() {
  return Assemble(R"((module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1 100)
  (func $parse (export "parse_header") (param i32) (result i32)
    (memory.grow (local.get 0)))
  (func (export "step") (result i32)
    (drop (call $parse (i32.const 1)))
    (call $random_get (i32.const 0) (i32.const 8)))))");
}

std::string Inner(absl::string_view more = "") {
  return absl::StrCat(R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: inner }
include: [wasi-preview1-base]
rules:
  - { id: grows, event: memory_grow, when: 'store.memory_bytes >= 65536 * 2', action: alert }
  - { id: parses, event: function, function: 'parse_*', when: 'args.p0 == 1', action: log }
  - { id: large, when: 'store.memory_bytes > 65536 * 2', action: log }
)yaml",
                      more);
}

TEST_F(TrialsTest, WhatHappensInsideIsRecordedReplayedAndExplained) {
  ASSERT_THAT(Apply("inner.yaml", Inner()), EndsWithCode(0));
  const std::string name(
      absl::StripSuffix(Client({"trace", "record"}).out, "\n"));
  const Finished made =
      Client({"store", "create", ModuleFile(Grows()), "--policy", "inner"});
  ASSERT_THAT(made, EndsWithCode(0));
  const std::string id(absl::StripSuffix(made.out, "\n"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(Client({"store", "call", id, "step"}), EndsWithCode(0));
  }
  // Other policies while it is recorded: from here on parsing is an alert, too.
  const std::string changed = absl::StrCat(
      Inner(
          "  - { id: new, event: function, function: 'parse_*', when: 'true', "
          "action: alert }\n"),
      "exceptions: []\n");
  ASSERT_THAT(Apply("changed.yaml", changed), EndsWithCode(0));
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(Client({"store", "call", id, "step"}), EndsWithCode(0));
  }
  EXPECT_THAT(Client({"trace", "stop"}), EndsWithCode(0));

  // What was given under either says so.
  const Finished first =
      Client({"policy", "replay", scratch_.Write("first.yaml", Inner()),
              "--trace", name});
  ASSERT_THAT(first, EndsWithCode(0));
  EXPECT_THAT(first.out, HasSubstr(", 2 changed, 0 of them uncertain"));
  EXPECT_THAT(first.out,
              HasSubstr("function parse: was alert by inner/new, would "
                        "be log by inner/parses"));
  const Finished second =
      Client({"policy", "replay", scratch_.Write("second.yaml", changed),
              "--trace", name});
  EXPECT_THAT(second.out, HasSubstr(", 3 changed, 0 of them uncertain"));
  EXPECT_THAT(second.out,
              HasSubstr("function parse: was log by inner/parses, would "
                        "be alert by inner/new"));
  EXPECT_EQ(Client({"policy", "replay", scratch_.Path("second.yaml"), "--trace",
                    name})
                .out,
            second.out);
  // Rules about growths and about what a Store has are held to the trace, too.
  std::string harder = changed;
  harder.replace(harder.find("65536 * 2', action: alert"), 25,
                 "65536 * 3', action: deny");
  const Finished other =
      Client({"policy", "replay", scratch_.Write("other.yaml", harder),
              "--trace", name});
  EXPECT_THAT(other.out, HasSubstr("memory_grow: was alert by inner/grows, "
                                   "would be allow"));
  EXPECT_THAT(other.out, HasSubstr("would be deny(0) by inner/grows"));

  // Why.
  const std::string events = Client({"events", "--output", "json"}).out;
  const auto explain = [&](absl::string_view rule) {
    std::string decision;
    for (const absl::string_view line : absl::StrSplit(events, '\n')) {
      if (!absl::StrContains(line, absl::StrCat("\"", rule, "\""))) continue;
      const size_t at = line.find("\"decision_id\":\"");
      if (at == absl::string_view::npos) continue;
      const absl::string_view rest = line.substr(at + 15);
      decision = std::string(rest.substr(0, rest.find('"')));
    }
    return Client({"policy", "explain", decision}).out;
  };
  const std::string growth = explain("grows");
  EXPECT_THAT(growth, HasSubstr("memory_grow: alert, by inner/grows: "));
  EXPECT_THAT(growth, HasSubstr("grow.requested"));
  EXPECT_THAT(growth, HasSubstr("store.memory_bytes"));
  EXPECT_THAT(growth, HasSubstr("inner/grows   true"));
  const std::string parse = explain("new");
  EXPECT_THAT(parse, HasSubstr("function \"parse\": alert, by inner/new"));
  EXPECT_THAT(parse, HasSubstr("args.p0"));
  EXPECT_THAT(parse, HasSubstr("inner/parses  true"));
}

TEST_F(TrialsTest, APolicyThatComesWithARunHasToPassItsTests) {
  const std::string module = ModuleFile(ExitsWithErrnoOfRandomGet());
  const std::string bad = scratch_.Write("inline.yaml", Tested("deny"));
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"run", module, "--policy", bad},
        std::vector<std::string>{"run", "--local", module, "--policy", bad}}) {
    const Finished failed = Client(how);
    EXPECT_THAT(failed, EndsWithCode(78));
    EXPECT_THAT(failed.err, HasSubstr("expected deny; it was allow"));
  }
  const std::string good = scratch_.Write("inline2.yaml", Tested("allow"));
  EXPECT_THAT(Client({"run", module, "--policy", good}), EndsWithCode(0));
  EXPECT_THAT(Client({"run", "--local", module, "--policy", good}),
              EndsWithCode(0));
}

TEST_F(TrialsTest, WhatShowsNothingSaysSo) {
  const std::string policy = scratch_.Write("p.yaml", kNoRandomPolicy);
  EXPECT_THAT(Client({"policy", "replay", policy, "--since", "1h"}).err,
              HasSubstr("no Store did anything while it was recorded"));
  const std::string name(
      absl::StripSuffix(Client({"trace", "record"}).out, "\n"));
  Client({"trace", "stop"});
  EXPECT_THAT(Client({"policy", "replay", policy, "--trace", name}).err,
              HasSubstr("no Store did anything while it was recorded"));
  // One that is not there keeps none of the others from going.
  const Finished removed = Client({"trace", "rm", "20200101T000000-1", name});
  EXPECT_THAT(removed, EndsWithCode(1));
  EXPECT_THAT(removed.err, HasSubstr("there is no trace 20200101T000000-1; "
                                     "`callgate trace ls` lists"));
  EXPECT_THAT(Client({"trace", "ls"}).out, Not(HasSubstr(name)));
  // A trace of another version, and something else.
  for (const auto& [bytes, what] :
       {std::pair<std::string, std::string>{std::string("cgtrace\x01", 8),
                                            "a trace of version 1"},
        {"nonsense of some length", "this is not a trace"}}) {
    scratch_.Write("data/traces/20270101T000000-1.cgtrace", bytes);
    const Finished damaged =
        Client({"policy", "replay", policy, "--trace", "20270101T000000-1"});
    EXPECT_THAT(damaged, EndsWithCode(1));
    EXPECT_THAT(damaged.err, HasSubstr("trace 20270101T000000-1: "));
    EXPECT_THAT(damaged.err, HasSubstr(what));
  }
}

}  // namespace
}  // namespace callgate::e2e
