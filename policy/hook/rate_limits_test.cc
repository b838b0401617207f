// Rate limits at the hook: which calls, whose bucket, how many tokens.

#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/hook/meters_fixture.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(MetersTest, RateLimitCountsTheCallsThatWhenSays) {
  Load(R"(
rate_limits:
  - { id: big, when: 'call.import == "net.send" && size(args.data) > 2', refill_per_second: 1, burst: 2, message: '${size(args.data)} bytes of ${call.import}' }
)");
  for (int i = 0; i < 9; ++i) EXPECT_EQ(store_->Send("ab"), "ok");
  EXPECT_EQ(store_->Send("abc"), "ok");
  EXPECT_EQ(store_->Send("abc"), "ok");
  EXPECT_EQ(store_->Send("abcd"), "errno 6");
  EXPECT_THAT(store_->messages, ElementsAre("4 bytes of \"net.send\""));
  EXPECT_EQ(store_->Send("ab"), "ok");
  Pass(absl::Seconds(1));
  EXPECT_EQ(store_->Send("abc"), "ok");
  EXPECT_EQ(store_->Send("abc"), "errno 6");
}

TEST_F(MetersTest, RateLimitTakesWhatACallCosts) {
  Load(R"(
rate_limits:
  - { id: bytes, when: 'call.import == "net.send"', refill_per_second: 10, burst: 10, cost: size(args.data) }
  - { id: halves, when: 'call.import == "net.connect"', refill_per_second: 0, burst: 1, cost: '0.5' }
  - { id: odd, when: 'call.import == "wasi_snapshot_preview1.path_open"', refill_per_second: 0, burst: 9, cost: args.rights }
)");
  EXPECT_EQ(store_->Send("1234567"), "ok");
  EXPECT_EQ(store_->Send("1234"), "errno 6");
  // What found too few took none.
  EXPECT_EQ(store_->Send("123"), "ok");
  EXPECT_EQ(store_->Send(""), "ok");
  EXPECT_EQ(store_->Send("1"), "errno 6");
  Pass(absl::Milliseconds(500));
  EXPECT_EQ(store_->Send("12345"), "ok");
  EXPECT_EQ(store_->Connect("a:1"), "ok");
  EXPECT_EQ(store_->Connect("a:1"), "ok");
  EXPECT_EQ(store_->Connect("a:1"), "errno 6");
  // What is no cost costs everything.
  EXPECT_EQ(store_->Open("x", 0, 4), "ok");
  EXPECT_EQ(store_->Open("x", 0, -4), "errno 6");
  EXPECT_THAT(store_->failures, ElementsAre(HasSubstr("odd")));
}

TEST_F(MetersTest, RateLimitScopeFollowsFromItsKey) {
  const auto came = [this](const std::string& key) {
    policy_ = CompileGood(absl::StrCat(kImports, "rate_limits: [{id: r",
                                       key.size(), key,
                                       ", when: 'call.name in [\"tick\", "
                                       "\"exchange\"]', refill_per_second: 0, "
                                       "burst: 1, action: trap}]\n"));
    std::vector<std::unique_ptr<MeteredStore>> stores;
    stores.push_back(Make());
    stores.push_back(Make({"acme", "sha256:00", "s2"}));
    stores.push_back(Make({"acme", "sha256:01", "s3"}));
    stores.push_back(Make({"globex", "sha256:00", "s4"}));
    std::string out;
    for (const auto& store : stores) {
      out += store->Tick() == "ok" ? '+' : '-';
      out += store->Exchange() == "ok" ? '+' : '-';
    }
    return out;
  };
  EXPECT_EQ(came(""), "+-+-+-+-");
  EXPECT_EQ(came(", key: [store]"), "+-+-+-+-");
  EXPECT_EQ(came(", key: [call.import]"), "++++++++");
  EXPECT_EQ(came(", key: [store, call.import]"), "++++++++");
  EXPECT_EQ(came(", key: [module.digest]"), "+---+-+-");
  EXPECT_EQ(came(", key: [module.digest, call.import]"), "++--++++");
  EXPECT_EQ(came(", key: [tenant]"), "+-----+-");
  EXPECT_EQ(came(", key: [tenant, call.name]"), "++----++");
  EXPECT_EQ(came(", key: [tenant, module.digest]"), "+---+-+-");
}

TEST_F(MetersTest, RateLimitBucketsOutliveTheirStores) {
  Load(
      "rate_limits: [{import: env.tick, key: [tenant], refill_per_second: 1, "
      "burst: 2, action: trap}]\n");
  EXPECT_EQ(store_->Tick(), "ok");
  store_.reset();
  store_ = Make({"acme", "sha256:02", "s2"});
  EXPECT_EQ(store_->Tick(), "ok");
  store_.reset();
  store_ = Make();
  EXPECT_EQ(store_->Tick(), "trap");
}

// Another version of the policy, with another message and action.
TEST_F(MetersTest, RateLimitStateOutlivesItsPolicyIfItMeansTheSame) {
  const auto load = [this](const std::string& rest) {
    Load(absl::StrCat(
        "lists: [{name: l, kind: exact, items: [a, ", rest.substr(0, 1),
        "]}]\nrate_limits: [{id: r, when: "
        "'call.name == \"tick\" && !(tenant in list(\"l\"))', key: "
        "[tenant], refill_per_second: 0, burst: 1, ",
        rest.substr(1), "}]\n"));
    return store_->Tick();
  };
  EXPECT_EQ(load("baction: deny"), "ok");
  EXPECT_EQ(load("baction: trap, message: new, severity: error"), "trap");
  EXPECT_EQ(load("baction: trap, mode: audit"), "ok");
  EXPECT_EQ(store_->lines.size(), 1u);
  // Not the same calls.
  EXPECT_EQ(load("caction: trap"), "ok");
  EXPECT_THAT(store_->lines, IsEmpty());
}

TEST_F(MetersTest, RateLimitForgetsTheOldestKeyAndGivesNothingAway) {
  Load(R"(
rate_limits:
  - { id: hosts, when: 'call.import == "net.connect"', key: [args.addr.host], max_keys: 2, refill_per_second: 1, burst: 2 }
)");
  for (const char* const to : {"a:1", "b:1", "a:1", "b:1"}) {
    EXPECT_EQ(store_->Connect(to), "ok");
  }
  EXPECT_EQ(store_->Connect("a:1"), "errno 6");
  EXPECT_THAT(store_->forgot, IsEmpty());
  // Ever new hosts have what is left of those that they push out: nothing.
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(store_->Connect(absl::StrCat("new", i, ":1")), "errno 6");
  }
  EXPECT_THAT(store_->forgot, ElementsAre("hosts"));
  EXPECT_EQ(store_->hook().DrainCounts().losses, 50u);
  EXPECT_EQ(states_.Uses()[0].lost, 50u);
  EXPECT_EQ(states_.Uses()[0].entries, 2u);
}

TEST_F(MetersTest, Point10DeniedCallsConsumeTokens) {
  Load(R"(
rules: [ { id: no, when: 'call.name == "tick" && store.calls < 2', action: trap } ]
rate_limits: [ { import: env.tick, refill_per_second: 0, burst: 3, action: kill_store } ]
)");
  EXPECT_EQ(store_->Tick(), "trap");
  EXPECT_EQ(store_->Tick(), "trap");
  EXPECT_EQ(store_->Tick(), "ok");
  EXPECT_EQ(store_->Tick(), "trap");
  EXPECT_EQ(store_->lines.back(), "kill_store rate:env.tick");
}

TEST_F(MetersTest, RateLimitThrottlesUntilTheTokenIsThere) {
  Load(R"(
rate_limits:
  - { id: shape, import: env.tick, refill_per_second: 10, burst: 1, action: throttle }
)");
  const auto delay = [this] { return store_->Call("env.tick", {}).delay; };
  EXPECT_EQ(delay(), absl::ZeroDuration());
  EXPECT_EQ(delay(), absl::Milliseconds(100));
  EXPECT_EQ(delay(), absl::Milliseconds(200));
  Pass(absl::Milliseconds(300));
  EXPECT_EQ(delay(), absl::ZeroDuration());
}

TEST_F(MetersTest, RateLimitOnResultsTakesTokensAfterTheCall) {
  Load(R"(
rate_limits:
  - { id: failures, when: 'call.name == "path_open" && result.errno != 0', refill_per_second: 0, burst: 2, action: trap }
)");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(store_->Open("a"), "ok");
  EXPECT_EQ(store_->Open("a", 44), "failed 44");
  EXPECT_EQ(store_->Open("a", 44), "failed 44");
  EXPECT_EQ(store_->Open("a", 44), "failed 44, trap");
  EXPECT_EQ(store_->Open("a"), "ok");
}

// Point 18: the order of events on shared states is known to who records it.
TEST_F(MetersTest, Point18SharedEventsHaveOneOrder) {
  Load(
      "rate_limits: [{import: env.tick, key: [tenant], refill_per_second: 1, "
      "burst: 9, action: log}]\n");
  auto other = Make({"acme", "sha256:01", "s2"});
  EXPECT_EQ(store_->hook().last_shared_event(), 0u);
  store_->Tick();
  other->Tick();
  store_->Tick();
  // Not about what is shared.
  other->Exchange();
  EXPECT_EQ(store_->hook().last_shared_event(), 3u);
  EXPECT_EQ(other->hook().last_shared_event(), 2u);
}

// Point 18: shared scopes are updated atomically.
TEST_F(MetersTest, Point18SharedBucketsAreExactAcrossThreads) {
  Load(
      "rate_limits: [{import: env.tick, key: [tenant], refill_per_second: 0, "
      "burst: 1000, action: log}]\ntemporal: [{id: c, scope: tenant, action: "
      "log, count: {when: 'call.name == \"exchange\"', within: 9s, gte: "
      "1001}}]\n");
  std::vector<std::unique_ptr<MeteredStore>> stores;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    stores.push_back(Make({"acme", absl::StrCat(t), absl::StrCat("s", t)}));
    MeteredStore* store = stores.back().get();
    threads.emplace_back([store] {
      for (int i = 0; i < 500; ++i) {
        store->Tick();
        store->Exchange();
      }
    });
  }
  size_t limited = 0;
  size_t counted = 0;
  for (std::thread& thread : threads) thread.join();
  for (const auto& store : stores) {
    for (const std::string& line : store->lines) {
      (line == "log rate:env.tick" ? limited : counted) += 1;
    }
  }
  EXPECT_EQ(limited, 1000u);
  EXPECT_EQ(counted, 1000u);
}

}  // namespace
}  // namespace callgate::policy
