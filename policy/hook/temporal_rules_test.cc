// The temporal rules of policies, and rules about results, at the hook.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/hook/meters_fixture.h"
#include "tests/support/allocations.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// --- sequence ---

constexpr char kSendAfterSecret[] = R"(
macros:
  - { name: reads_secret, when: 'call.import == "wasi_snapshot_preview1.path_open" && args.path.startsWith("/config/secrets/")' }
  - { name: is_egress, when: 'call.import in ["net.connect", "net.send"]' }
temporal:
  - id: send-after-secret
    sequence:
      steps:
        - { as: secret, when: reads_secret }
        - { as: send,   when: is_egress }
      unless:
        - { as: exchange, when: 'call.import == "vault.exchange" && result.errno == 0' }
      within: 30s
      max_partial: 64
    action: trap
    message: '${send.call.import} after reading ${secret.args.path} ${send.now - secret.now} ago'
)";

TEST_F(MetersTest, SequenceTrapsWhatCompletesIt) {
  Load(kSendAfterSecret);
  EXPECT_EQ(store_->Send(), "ok");
  EXPECT_EQ(store_->Open("config/secrets/db"), "ok");
  Pass(absl::Seconds(5));
  EXPECT_EQ(store_->Send(), "trap");
  EXPECT_THAT(store_->lines, ElementsAre("trap send-after-secret"));
  EXPECT_THAT(store_->messages,
              ElementsAre("\"net.send\" after reading \"/config/secrets/db\" "
                          "5s ago"));
  // Trying again does not help, and neither does another way out.
  EXPECT_EQ(store_->Connect("a:1"), "trap");
  Pass(absl::Seconds(25));
  EXPECT_EQ(store_->Send(), "trap");
  Pass(absl::Nanoseconds(1));
  EXPECT_EQ(store_->Send(), "ok");
}

TEST_F(MetersTest, SequenceUnlessNeedsItsResult) {
  Load(kSendAfterSecret);
  store_->Open("config/secrets/db");
  EXPECT_EQ(store_->Exchange(/*result=*/5), "failed 5");
  EXPECT_EQ(store_->Send(), "trap");
  EXPECT_EQ(store_->Exchange(), "ok");
  EXPECT_EQ(store_->Send(), "ok");
}

TEST_F(MetersTest, SequenceScopeSaysWhoseCalls) {
  const auto load = [this](const std::string& scope) {
    policy_ = CompileGood(
        absl::StrCat(kImports, kSendAfterSecret, "    scope: ", scope, "\n"));
    auto a = Make();
    auto b = Make();
    auto c = Make({"acme", "sha256:01"});
    auto d = Make({"globex"});
    a->Open("config/secrets/db");
    return std::vector<std::string>{a->Send(), b->Send(), c->Send(), d->Send()};
  };
  EXPECT_THAT(load("store"), ElementsAre("trap", "ok", "ok", "ok"));
  EXPECT_THAT(load("module"), ElementsAre("trap", "trap", "ok", "ok"));
  EXPECT_THAT(load("tenant"), ElementsAre("trap", "trap", "trap", "ok"));
}

TEST_F(MetersTest, Point9SequenceStepsAreExecutedCallsUnlessAttempts) {
  constexpr char kRules[] = R"(
rules:
  - { id: no-open, when: 'call.import == "wasi_snapshot_preview1.path_open" && args.path == "/x"', action: deny }
temporal:
  - id: plain
    sequence: { steps: [ { when: 'call.name == "path_open"' }, { when: 'call.name == "send"' } ], within: 9s }
    action: alert
  - id: attempts
    sequence: { steps: [ { when: 'call.name == "path_open" && call.denied && result.errno == 76', attempts: true }, { when: 'call.name == "send"' } ], within: 9s }
    action: log
)";
  Load(kRules);
  EXPECT_EQ(store_->Open("x"), "errno 76");
  EXPECT_EQ(store_->Send(), "ok");
  EXPECT_THAT(store_->lines, ElementsAre("deny no-open", "log attempts"));
  EXPECT_EQ(store_->Open("y"), "ok");
  store_->Send();
  EXPECT_EQ(store_->lines.back(), "alert plain");
}

// A step that is stopped by this very rule has not happened.
TEST_F(MetersTest, WhatASequenceStopsIsNoStepOfAnother) {
  Load(R"(
temporal:
  - id: one
    sequence: { steps: [ { when: 'call.name == "tick"' }, { when: 'call.name == "send"' } ], within: 9s }
    action: deny
  - id: two
    sequence: { steps: [ { when: 'call.name == "send"' }, { when: 'call.name == "connect"' } ], within: 9s }
    action: trap
)");
  store_->Tick();
  EXPECT_EQ(store_->Send(), "errno 76");
  EXPECT_EQ(store_->Connect("a:1"), "ok");
}

// Sending on what was opened, and not on something else.
TEST_F(MetersTest, SequenceStepsMayDependOnEarlierOnes) {
  Load(R"(
temporal:
  - id: same
    sequence:
      steps:
        - { as: first, when: 'call.import == "net.send" && args.data == b"begin"' }
        - { as: again, when: 'call.import == "net.send" && args.data == b"end" && args.sock == first.args.sock' }
      unless: [ { when: 'call.import == "net.send" && args.data == b"stop" && args.sock == first.args.sock' } ]
      within: 60s
      max_partial: 2
    action: deny
    message: 'socket ${first.args.sock} again'
)");
  EXPECT_EQ(store_->Send("begin", 1), "ok");
  EXPECT_EQ(store_->Send("begin", 2), "ok");
  EXPECT_EQ(store_->Send("end", 3), "ok");
  EXPECT_EQ(store_->Send("end", 1), "errno 76");
  EXPECT_EQ(store_->messages.back(), "socket 1 again");
  EXPECT_EQ(store_->Send("stop", 2), "ok");
  EXPECT_EQ(store_->Send("end", 2), "ok");
  EXPECT_EQ(store_->Send("end", 1), "errno 76");
  // Two attempts are all it remembers.
  EXPECT_THAT(store_->forgot, IsEmpty());
  store_->Send("begin", 4);
  store_->Send("begin", 5);
  EXPECT_THAT(store_->forgot, ElementsAre("same"));
  EXPECT_EQ(store_->Send("end", 1), "ok");
  EXPECT_EQ(store_->Send("end", 5), "errno 76");
  EXPECT_EQ(store_->hook().DrainCounts().losses, 1u);
}

TEST_F(MetersTest, Point19OverflowMayTrap) {
  Load(R"(
temporal:
  - id: same
    sequence:
      steps:
        - { as: first, when: 'call.import == "net.send"' }
        - { as: again, when: 'call.import == "net.connect" && first.args.sock == 9' }
      within: 60s
      max_partial: 1
    action: alert
    on_overflow: trap
)");
  EXPECT_EQ(store_->Send("", 1), "ok");
  EXPECT_EQ(store_->Send("", 2), "trap");
  EXPECT_THAT(store_->messages.back(), HasSubstr("had to forget"));
}

TEST_F(MetersTest, WhatIsRedactedIsNotShownLaterEither) {
  policy_ = CompileGood(R"(
imports:
  - { import: net.send, action: allow, args: [ { name: data, redact: true } ] }
  - { import: net.connect, action: allow }
  - { import: net.resolve, action: allow }
  - { import: vault.exchange, action: allow }
  - { import: env.tick, action: allow }
  - { import: wasi_snapshot_preview1.path_open, action: allow }
temporal:
  - id: r
    sequence: { steps: [ { as: sent, when: 'call.name == "send"' }, { as: met, when: 'call.name == "connect" && sent.args.data == b"top"' } ], within: 9s }
    action: alert
    message: 'sent ${sent.args.data} on ${sent.args.sock}, then ${met.args.addr}'
)");
  store_ = Make();
  store_->Send("top");
  store_->Connect("a:1");
  EXPECT_THAT(store_->messages, ElementsAre("sent <none> on 7, then \"a:1\""));
}

// --- require ---

constexpr char kNeedsLookup[] = R"(
temporal:
  - id: connect-needs-lookup
    require: { when: 'call.import == "net.connect"', formerly: { as: lookup, when: 'call.import == "net.resolve" && current.args.addr.ip in result.addrs' }, within: 300s }
    action: deny
    severity: warning
)";

TEST_F(MetersTest, RequireLooksForWhatWasSaidBefore) {
  Load(kNeedsLookup);
  EXPECT_EQ(store_->Connect("10.0.0.1:443"), "errno 76");
  EXPECT_EQ(store_->Resolve("a.example", "10.0.0.1, 2001:db8::1"), "ok");
  EXPECT_EQ(store_->Connect("10.0.0.1:443"), "ok");
  EXPECT_EQ(store_->Connect("[2001:db8::1]:443"), "ok");
  EXPECT_EQ(store_->Connect("10.0.0.2:443"), "errno 76");
  // A name was not looked up: nobody knows where it leads.
  EXPECT_EQ(store_->Connect("a.example:443"), "errno 76");
  Pass(absl::Seconds(300));
  EXPECT_EQ(store_->Connect("10.0.0.1:443"), "ok");
  Pass(absl::Nanoseconds(1));
  EXPECT_EQ(store_->Connect("10.0.0.1:443"), "errno 76");
}

// What the guest has in its buffer is not what the host said.
TEST_F(MetersTest, RequireBelievesTheHostAlone) {
  Load(kNeedsLookup);
  store_->Put("10.0.0.9", 2048);
  EXPECT_EQ(store_->Resolve("a", "", /*result=*/7), "failed 7");
  EXPECT_EQ(store_->Connect("10.0.0.9:1"), "errno 76");
  store_->Put(std::string("10.0.0.1\0"
                          "10.0.0.9",
                          17),
              2048);
  EXPECT_EQ(store_->Resolve("a", "10.0.0.1"), "ok");
  EXPECT_EQ(store_->Connect("10.0.0.9:1"), "errno 76");
  // Nor what comes after the call.
  store_->Put("10.0.0.9", 2048);
  EXPECT_EQ(store_->Connect("10.0.0.9:1"), "errno 76");
  EXPECT_EQ(store_->Connect("10.0.0.1:1"), "ok");
}

TEST_F(MetersTest, RequireWithoutComparisonNeedsOneEvent) {
  Load(R"(
temporal:
  - { id: r, require: { when: 'call.name == "send"', formerly: { when: 'call.name == "exchange" && result.errno == 0' }, within: 10s }, action: deny }
)");
  EXPECT_EQ(store_->Send(), "errno 76");
  store_->Exchange(1);
  EXPECT_EQ(store_->Send(), "errno 76");
  for (int i = 0; i < 100; ++i) store_->Exchange();
  EXPECT_EQ(store_->Send(), "ok");
  EXPECT_THAT(store_->forgot, IsEmpty());
  EXPECT_EQ(store_->Send(), "ok");
}

TEST_F(MetersTest, RequireForgetsTheOldest) {
  Load(R"(
temporal:
  - id: r
    require: { when: 'call.import == "net.connect"', formerly: { when: 'call.import == "net.resolve" && current.args.addr.ip in result.addrs' }, within: 300s, max_events: 2 }
    action: deny
)");
  store_->Resolve("a", "10.0.0.1");
  store_->Resolve("b", "10.0.0.2");
  EXPECT_EQ(store_->Connect("10.0.0.1:1"), "ok");
  store_->Resolve("c", "10.0.0.3");
  EXPECT_EQ(store_->Connect("10.0.0.1:1"), "errno 76");
  EXPECT_EQ(store_->Connect("10.0.0.3:1"), "ok");
  EXPECT_THAT(store_->forgot, ElementsAre("r"));
}

// --- count, distinct, sum ---

TEST_F(MetersTest, Point9CountSeesDeniedCallsAndTheirErrno) {
  Load(R"(
rules:
  - { id: no-x, when: 'call.name == "path_open" && args.path == "/x"', action: deny }
temporal:
  - id: path-scan
    count: { when: 'call.name == "path_open" && result.errno != 0', within: 10s, gte: 4, key: [store] }
    action: quarantine_module
  - id: denials
    count: { when: 'call.denied', within: 10s, gte: 3 }
    action: alert
)");
  EXPECT_EQ(store_->Open("x"), "errno 76");
  EXPECT_EQ(store_->Open("y"), "ok");
  EXPECT_EQ(store_->Open("z", /*result=*/44), "failed 44");
  EXPECT_EQ(store_->Open("x"), "errno 76");
  EXPECT_THAT(store_->lines, ElementsAre("deny no-x", "deny no-x"));
  Pass(absl::Seconds(10));
  // The fourth that failed within the window: the verdict of one call.
  EXPECT_EQ(store_->Open("x"), "trap");
  EXPECT_EQ(store_->lines.back(), "quarantine_module path-scan");
  EXPECT_THAT(store_->journal, HasSubstr("[denials alert"));
  EXPECT_EQ(store_->Tick(), "trap");
}

TEST_F(MetersTest, CountOfResultsEndsTheStoreAfterTheCall) {
  Load(R"(
temporal:
  - { id: c, count: { when: 'result.errno == 44', within: 10s, gte: 2 }, action: kill_store }
)");
  EXPECT_EQ(store_->Open("y", 44), "failed 44");
  EXPECT_EQ(store_->Open("y", 44), "failed 44, trap");
  EXPECT_THAT(store_->lines, ElementsAre("kill_store c"));
  EXPECT_NE(store_->hook().latched(), nullptr);
}

TEST_F(MetersTest, CountKeepsKeysApartAndForgetsTheOldest) {
  Load(R"(
temporal:
  - { id: c, count: { when: 'call.name == "connect"', within: 10s, gte: 2, key: [args.addr.host], max_keys: 2 }, action: deny }
)");
  EXPECT_EQ(store_->Connect("a:1"), "ok");
  EXPECT_EQ(store_->Connect("b:1"), "ok");
  EXPECT_EQ(store_->Connect("a:2"), "errno 76");
  EXPECT_THAT(store_->forgot, IsEmpty());
  EXPECT_EQ(store_->Connect("c:1"), "ok");
  EXPECT_THAT(store_->forgot, ElementsAre("c"));
  EXPECT_EQ(store_->Connect("b:2"), "ok");
  EXPECT_EQ(store_->Connect("c:2"), "errno 76");
}

TEST_F(MetersTest, DistinctCountsValues) {
  Load(R"(
temporal:
  - id: fan-out
    distinct: { when: 'call.import == "net.connect"', value: args.addr.host, within: 60s, gte: 3, max_values: 64 }
    action: deny
)");
  for (const char* const to : {"a:1", "a:2", "b:1", "a:3", "b:2"}) {
    EXPECT_EQ(store_->Connect(to), "ok") << to;
  }
  EXPECT_EQ(store_->Connect("c:1"), "errno 76");
  Pass(absl::Seconds(61));
  EXPECT_EQ(store_->Connect("c:1"), "ok");
}

TEST_F(MetersTest, SumCountsCallsInFlight) {
  constexpr char kRules[] = R"(
temporal:
  - id: volume
    sum: { when: 'call.import == "net.send"', value: size(args.data), within: 60s, gte: 100, count_in_flight: %s }
    action: alert
)";
  for (const bool in_flight : {true, false}) {
    std::string rules = kRules;
    rules.replace(rules.find("%s"), 2, in_flight ? "true" : "false");
    Load(rules);
    const std::string data(60, 'd');
    // While one goes on, another begins.
    const uint32_t at = store_->Put(data, 1024);
    const std::vector<RawValue> args = {RawValue::I32(1), RawValue::I32(at),
                                        RawValue::I32(60)};
    store_->Call("net.send", args, 0, [&] { store_->Send(data); });
    EXPECT_EQ(store_->lines.size(), in_flight ? 1u : 0u);
    // Both are over.
    store_->Send("");
    EXPECT_EQ(store_->lines.size(), in_flight ? 2u : 1u);
    // A call counts for itself.
    Pass(absl::Seconds(100));
    store_->lines.clear();
    store_->Send(std::string(100, 'd'));
    EXPECT_EQ(store_->lines.size(), 1u);
  }
}

TEST_F(MetersTest, SumOverTheTenantIsExactAcrossStores) {
  Load(R"(
temporal:
  - id: exfil-volume
    sum: { when: 'call.import == "net.send"', value: size(args.data), within: 60s, gte: 10, count_in_flight: true }
    scope: tenant
    action: throttle
    throttle: { base_delay: 0.01s, factor: 2, max_delay: 2s, cool_down: 60s }
)");
  auto other = Make({"acme", "sha256:01", "s2"});
  auto stranger = Make({"globex", "sha256:00", "s3"});
  EXPECT_EQ(store_->SendFor("12345").delay, absl::ZeroDuration());
  EXPECT_EQ(stranger->SendFor("12345").delay, absl::ZeroDuration());
  EXPECT_EQ(other->SendFor("1234").delay, absl::ZeroDuration());
  EXPECT_EQ(store_->SendFor("1").delay, absl::Milliseconds(10));
  EXPECT_EQ(store_->SendFor("").delay, absl::Milliseconds(20));
}

// --- results ---

TEST_F(MetersTest, Point5RulesAboutResultsRunAfterTheCall) {
  Load(R"(
rules:
  - { id: failed, when: 'call.name == "exchange" && result.errno == 5', action: alert, message: 'errno ${result.errno} of ${result.value}' }
  - { id: worse, when: 'call.name == "exchange" && result.errno == 6', action: trap }
  - { id: worst, when: 'call.name == "exchange" && result.errno == 7', action: kill_store }
  - { id: hurt, when: 'call.name == "exchange" && result.errno == -1', action: log }
)");
  EXPECT_EQ(store_->Exchange(), "ok");
  EXPECT_THAT(store_->lines, IsEmpty());
  EXPECT_EQ(store_->Exchange(5), "failed 5");
  EXPECT_THAT(store_->messages, ElementsAre("errno 5 of 5"));
  EXPECT_EQ(store_->Exchange(6), "failed 6, trap");
  EXPECT_EQ(store_->hook().latched(), nullptr);
  store_->Call("vault.exchange", {}, 0, nullptr, Ending::kHostError);
  EXPECT_EQ(store_->lines.back(), "log hurt");
  EXPECT_EQ(store_->Exchange(7), "failed 7, trap");
  EXPECT_NE(store_->hook().latched(), nullptr);
  EXPECT_THAT(store_->journal, HasSubstr("alert failed errno 5 of 5 0 after"));
}

TEST_F(MetersTest, Point5AThrottleAfterTheCallDelaysTheNext) {
  Load(R"(
rules:
  - { id: slow, when: 'call.name == "exchange" && result.errno == 5', action: throttle, throttle: { base_delay: 0.5s } }
)");
  EXPECT_EQ(store_->Call("vault.exchange", {}, 5).delay, absl::ZeroDuration());
  EXPECT_EQ(store_->Call("env.tick", {}).delay, absl::Milliseconds(500));
  EXPECT_EQ(store_->Call("env.tick", {}).delay, absl::ZeroDuration());
  // Also if the guest leaves first.
  store_->Call("vault.exchange", {}, 5);
  store_->Begin();
  EXPECT_EQ(store_->Call("env.tick", {}).delay, absl::Milliseconds(500));
}

// The same import, called again before the first call is over.
TEST_F(MetersTest, ResultsBelongToTheirOwnCall) {
  Load(R"(
rules:
  - { id: r, when: 'call.name == "connect" && result.errno != 0', action: alert, message: '${args.addr} ${result.errno} ${call.seq}' }
)");
  const auto connect = [this](const std::string& to, uint32_t result,
                              const std::function<void()>& body) {
    const uint32_t at = store_->Put(to, 512);
    store_->Call(
        "net.connect",
        {RawValue::I32(at), RawValue::I32(static_cast<uint32_t>(to.size()))},
        result, body);
  };
  connect("outer:1", 1, [&] {
    connect("inner:1", 2, nullptr);
    connect("good:1", 0, nullptr);
  });
  EXPECT_THAT(store_->messages,
              ElementsAre("\"inner:1\" 2 2", "\"outer:1\" 1 1"));
}

TEST_F(MetersTest, ResultsOfOutArgumentsAreFacts) {
  Load(R"(
lists: [ { name: private_nets, kind: cidr, items: ["10.0.0.0/8"] } ]
rules:
  - id: rebind
    when: 'call.import == "net.resolve" && result.errno == 0 && result.addrs.exists(a, a in list("private_nets"))'
    action: trap
    message: '${args.host} is ${result.addrs}'
)");
  EXPECT_EQ(store_->Resolve("a", "192.0.2.1 192.0.2.2"), "ok");
  EXPECT_EQ(store_->Resolve("evil", "192.0.2.1 10.0.0.1"), "ok, trap");
  EXPECT_THAT(store_->messages,
              ElementsAre("\"evil\" is [192.0.2.1, 10.0.0.1]"));
  // Failed: what is in the buffer means nothing.
  EXPECT_EQ(store_->Resolve("a", "10.0.0.1", 5), "failed 5");
  // Not to be understood: the rule counts as true.
  EXPECT_EQ(store_->Resolve("a", "10.0.0.1 nonsense"), "ok, trap");
  EXPECT_EQ(store_->failures.size(), 1u);
  std::string many;
  for (int i = 0; i < 65; ++i) absl::StrAppend(&many, "1.1.1.1 ");
  EXPECT_EQ(store_->Resolve("a", many), "ok, trap");
}

// --- what all have in common ---

TEST_F(MetersTest, Point4WhatCannotBeEvaluatedCountsAgainstTheGuest) {
  Load(R"(
temporal:
  - { id: counted, count: { when: 'call.name == "connect" && args.addr.port / 0 == 1', within: 9s, gte: 2 }, action: log }
  - { id: required, require: { when: 'call.name == "connect"', formerly: { when: 'call.name == "send" && size(args.data) / 0 == 1' }, within: 9s }, action: alert }
  - id: sequence
    sequence:
      steps: [ { when: 'call.name == "tick" && 1 / store.calls > 5' }, { when: 'call.name == "exchange"' } ]
      unless: [ { when: 'call.name == "send" && size(args.data) / 0 == 1' } ]
      within: 9s
    action: deny
  - { id: valued, sum: { when: 'call.name == "path_open"', value: args.rights, within: 9s, gte: 100 }, action: deny }
)");
  store_->Tick();
  store_->Send("x");
  EXPECT_EQ(store_->Exchange(), "errno 76");
  EXPECT_EQ(store_->Open("a", 0, 5), "ok");
  EXPECT_EQ(store_->Open("a", 0, -5), "errno 76");
  store_->lines.clear();
  store_->Connect("a:1");
  store_->Connect("a:1");
  EXPECT_THAT(store_->lines, ElementsAre("alert required", "alert required"));
  EXPECT_THAT(store_->journal, HasSubstr("[counted log"));
  // Each is told once.
  EXPECT_EQ(store_->failures.size(), 4u);
}

TEST_F(MetersTest, Point10AuditAndExceptionsAreAsForOtherRules) {
  policy_ = CompileGood(absl::StrCat(kImports, R"(
rate_limits:
  - { id: rate, when: 'call.name == "connect"', refill_per_second: 0, burst: 1, action: deny }
temporal:
  - { id: tried, count: { when: 'call.name == "send"', within: 9s, gte: 1 }, action: trap, mode: audit }
  - { id: counted, count: { when: 'call.name == "connect"', within: 9s, gte: 3 }, action: kill_store }
  - { id: needs, require: { when: 'call.name == "connect"', formerly: { when: 'call.name == "resolve"' }, within: 9s }, action: deny }
  - { id: after, sequence: { steps: [ { when: 'call.name == "tick"' }, { when: 'call.name == "connect"' } ], within: 9s }, action: trap }
exceptions:
  - { rule: rate, fields: [args.addr.host], comps: ["=="], values: [ { v: [ok] } ], reason: r, expires: "2999-01-01" }
  - { rule: counted, fields: [args.addr.host], comps: ["=="], values: [ { v: [ok] } ], reason: r, expires: "2999-01-01" }
  - { rule: needs, fields: [args.addr.host], comps: ["=="], values: [ { v: [ok] } ], reason: r, expires: "2999-01-01" }
  - { rule: after, fields: [args.addr.host], comps: ["=="], values: [ { v: [ok] } ], reason: r, expires: "2999-01-01" }
)"));
  store_ = Make();
  EXPECT_EQ(store_->Send(), "ok");
  EXPECT_THAT(store_->lines, ElementsAre("allow tried"));
  EXPECT_EQ(store_->would_be.back(), Verdict::kTrap);
  store_->Tick();
  // Neither counted nor limited nor stopped.
  for (int i = 0; i < 10; ++i) EXPECT_EQ(store_->Connect("ok:1"), "ok");
  EXPECT_EQ(store_->Connect("other:1"), "trap");
  EXPECT_EQ(store_->lines.back(), "trap after");
  EXPECT_THAT(store_->journal, HasSubstr("[needs deny"));
  EXPECT_EQ(store_->hook().latched(), nullptr);
}

// Point 10: the order in the file never changes the verdict.
TEST_F(MetersTest, Point10OrderInTheFileNeverMatters) {
  const std::string rules[] = {
      "  - { id: a, count: { when: 'call.name == \"send\"', within: 9s, gte: 2 "
      "}, action: deny }\n",
      "  - { id: b, sequence: { steps: [ { when: 'call.name == \"send\"' }, { "
      "when: 'call.name == \"connect\"' } ], within: 9s }, action: trap }\n",
      "  - { id: c, count: { when: 'call.denied', within: 9s, gte: 1 }, "
      "action: "
      "alert }\n",
      "  - { id: d, sequence: { steps: [ { when: 'call.denied', attempts: true "
      "}, { when: 'call.name == \"tick\"' } ], within: 9s }, action: trap }\n"};
  std::vector<size_t> order = {0, 1, 2, 3};
  std::string first;
  do {
    std::string text = "temporal:\n";
    for (const size_t i : order) text += rules[i];
    Load(text);
    std::vector<std::string> came = {store_->Send(), store_->Send(),
                                     store_->Connect("a:1"), store_->Tick()};
    EXPECT_THAT(came, ElementsAre("ok", "errno 76", "trap", "trap"));
  } while (std::next_permutation(order.begin(), order.end()));
}

// Point 10: of equal verdicts the narrower scope's names it, then the smaller
// id; with its own errno.
TEST_F(MetersTest, Point10OfEqualVerdictsTheNarrowerScopeNamesIt) {
  const std::string when = "when: 'call.name == \"send\"'";
  const std::string tenant =
      absl::StrCat("  - { id: a, scope: tenant, count: { ", when,
                   ", within: 9s, gte: 1 }, action: deny, guest_errno: 11 }\n");
  const std::string module =
      absl::StrCat("  - { id: b, scope: module, count: { ", when,
                   ", within: 9s, gte: 1 }, action: deny, guest_errno: 12 }\n");
  const std::string store =
      absl::StrCat("  - { id: d, count: { ", when,
                   ", within: 9s, gte: 1 }, action: deny, guest_errno: 14 }\n");
  const std::string limit = absl::StrCat(
      "rate_limits: [ { id: aa, ", when,
      ", key: [tenant], refill_per_second: 0, burst: 1, cost: '2', "
      "guest_errno: 10 } ]\n");
  const auto named = [&](const std::string& rules) {
    Load(rules);
    const std::string came = store_->Send();
    return absl::StrCat(came, ", ", store_->lines.back());
  };
  EXPECT_EQ(named(absl::StrCat("temporal:\n", tenant, limit)),
            "errno 11, deny a");
  EXPECT_EQ(named(absl::StrCat("temporal:\n", tenant, module, limit)),
            "errno 12, deny b");
  EXPECT_EQ(named(absl::StrCat("temporal:\n", tenant, module, store, limit)),
            "errno 14, deny d");
  EXPECT_EQ(named(absl::StrCat("temporal:\n", tenant, module, store, limit,
                               "rules: [ { id: c, ", when,
                               ", action: deny, guest_errno: 13 } ]\n")),
            "errno 13, deny c");
}

// --- a change of policies ---

TEST_F(MetersTest, Point22StateOfUnchangedRulesSurvivesAChange) {
  Load(kSendAfterSecret);
  store_->Open("config/secrets/db");
  // Another message, action and severity, and another rule before it.
  std::string changed = kSendAfterSecret;
  const auto replace = [&](const std::string& from, const std::string& to) {
    changed.replace(changed.find(from), from.size(), to);
  };
  replace("action: trap", "action: deny\n    severity: critical");
  replace("temporal:",
          "temporal:\n  - { id: other, action: log, count: { when: "
          "'true', within: 1s, gte: 1000 } }");
  store_->hook().Replace({CompileGood(absl::StrCat(kImports, changed))});
  EXPECT_EQ(store_->Send(), "errno 76");
  EXPECT_THAT(store_->messages.back(), HasSubstr("/config/secrets/db"));
  // What it is about has changed.
  replace("within: 30s", "within: 31s");
  store_->hook().Replace({CompileGood(absl::StrCat(kImports, changed))});
  EXPECT_EQ(store_->Send(), "ok");
}

TEST_F(MetersTest, Point22ACallEndsUnderTheRulesThatItBeganWith) {
  Load("rules: [{id: one, when: 'result.errno == 5', action: alert}]\n");
  store_->tells_all = true;
  const auto two = CompileGood(absl::StrCat(
      kImports,
      "rules: [{id: two, when: 'result.errno == 5', action: log}]\n"));
  store_->Call("vault.exchange", {}, 5, [&] {
    store_->hook().Replace({two});
    EXPECT_EQ(store_->Open("a", 5), "failed 5");
    EXPECT_THAT(store_->lines, ElementsAre("log two"));
  });
  EXPECT_THAT(store_->lines, ElementsAre("log two", "alert one"));
  store_->Exchange(5);
  EXPECT_EQ(store_->lines.back(), "log two");
}

// --- loading ---

struct Bad {
  std::string rules;
  std::string problem;
};

TEST(TemporalSectionTest, SaysWhatIsWrong) {
  const std::string count =
      "temporal: [{id: t, action: deny, count: {within: 9s, gte: 2, ";
  const std::string sequence =
      "temporal: [{id: t, action: deny, sequence: {within: 9s, steps: [";
  for (
      const Bad& bad : std::vector<Bad>{
          {"temporal: [{action: deny}]", "id is missing"},
          {"temporal: [{id: t}]", "action is missing"},
          {"temporal: [{id: t, action: allow}]", "cannot be allow"},
          {"temporal: [{id: t, action: deny}]", "a pattern is missing"},
          {"temporal: [{id: t, action: deny, count: {gte: 1, when: 'true'}}]",
           "within is missing"},
          {"temporal: [{id: t, action: deny, count: {within: 9s, when: "
           "'true'}}]",
           "gte: is 0; allowed: 1 to 65536"},
          {count + "}}]", "when is missing"},
          {count + "when: '1'}}]", "bool is wanted"},
          {sequence + "{when: 'true', as: a}, {when: 'a.tenant == a.tenant', "
                      "as: a}]}}]",
           "\"a\" is the name of something else"},
          {count + "when: 'true', key: [nonsense]}}]",
           "\"nonsense\" is no fact"},
          {count + "when: 'true', key: [args.a], max_keys: 0}}]",
           "max_keys: is 0"},
          {count + "when: 'result.errno != 0'}}]", "cannot be denied then"},
          {"temporal: [{id: t, action: log, on_overflow: deny, count: {within: "
           "9s, gte: 2, when: 'true'}}]",
           "on_overflow: cannot be deny; allowed here: trap"},
          {"temporal: [{id: t, action: log, distinct: {within: 9s, gte: 20, "
           "when: 'true', value: tenant, max_values: 3}}]",
           "would never see gte"},
          {"temporal: [{id: t, action: log, distinct: {within: 9s, gte: 20, "
           "when: 'true'}}]",
           "value is missing"},
          {"temporal: [{id: t, action: log, sum: {within: 9s, gte: 20, when: "
           "'result.errno == 0', value: '1', count_in_flight: true}}]",
           "what a call in flight comes to is not known"},
          {sequence + "{when: 'true'}]}}]", "has 1 step; allowed: 2 to 8"},
          {sequence + "{when: 'true', as: a}, {when: 'true', as: a}]}}]",
           "\"a\" is the name of something else"},
          {sequence + "{when: 'true', as: args}, {when: 'true'}]}}]",
           "\"args\" is no name for an event"},
          {sequence + "{when: 'b.tenant == \"\"', as: a}, {when: 'true', as: "
                      "b}]}}]",
           "b comes later in the sequence"},
          {sequence + "{when: 'call.denied'}, {when: 'true'}]}}]",
           "call.denied is known too late"},
          {sequence + "{when: 'true'}, {when: 'result.errno == 1'}]}}]",
           "cannot be denied then"},
          {sequence + "{when: 'true', as: a}, {when: 'a.nonsense == 1'}]}}]",
           "there is no fact"},
          {"temporal: [{id: t, action: log, sequence: {within: 9s, "
           "max_partial: 0, steps: [{when: 'true'}, {when: 'true'}]}}]",
           "max_partial: is 0; allowed: 1 to 4096"},
          {"temporal: [{id: t, action: log, require: {within: 9s, when: "
           "'true'}}]",
           "formerly is missing"},
          {"temporal: [{id: t, action: log, require: {within: 9s, when: "
           "'true', formerly: {when: 'has(current.args.x)'}}}]",
           "ask in require.when"},
          {"temporal: [{id: t, action: log, require: {within: 9s, when: "
           "'true', formerly: {when: 'current.result.errno == 0'}}}]",
           "the rule is judged before the call"},
          {"temporal: [{id: t, action: log, message: '${result.errno}', count: "
           "{within: 9s, gte: 2, when: 'true'}}]",
           "the rule is judged before the call"},
          {"rules: [{id: r, action: deny, when: 'result.errno == 0'}]",
           "it cannot be denied then"},
          {"rules: [{id: r, action: log, when: 'call.denied'}]",
           "call.denied is known too late"},
          {"imports: [{import: a.b, action: allow, when: 'result.errno == 0'}]",
           "what allows it decides before"},
          {"rate_limits: [{when: 'true', refill_per_second: 1, burst: 1}]",
           "a rate limit with `when` has an id"},
          {"rate_limits: [{id: r, when: 'true', refill_per_second: 0, burst: "
           "1, action: throttle}]",
           "throttle is missing"},
          {"rate_limits: [{id: r, when: 'true', refill_per_second: 1, burst: "
           "1, key: [args.a], max_keys: 2000000}]",
           "max_keys: is 2000000"},
          {"temporal: [{id: t, action: log, count: {within: 9s, gte: 65536, "
           "when: 'true', key: [args.a], max_keys: 1048576}}]",
           "bytes for one store, and at most 16777216 are allowed"},
      }) {
    const CompileResult result = CompileText(bad.rules + "\n");
    if (bad.problem.empty()) {
      EXPECT_TRUE(result.ok()) << bad.rules << ProblemsOf(result);
    } else {
      EXPECT_FALSE(result.ok()) << bad.rules;
      EXPECT_THAT(ProblemsOf(result), HasSubstr(bad.problem)) << bad.rules;
    }
  }
}

}  // namespace
}  // namespace callgate::policy
