// Temporal rules at the hook against a model that keeps every event of every
// Store and looks through them all, over random traces: which rules match at
// each call, and which calls are stopped.

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "policy/hook/meters_fixture.h"

namespace callgate::policy {
namespace {

enum class Op { kTick, kOpen, kSend, kConnect, kResolve, kExchange };

struct Happened {
  size_t store = 0;
  Op op = Op::kTick;
  int64_t at = 0;       // seconds
  int subject = 0;      // path, host or socket
  int port = 0;         // of kConnect
  size_t size = 0;      // of kSend
  uint32_t result = 0;  // of the host function
  bool denied = false;

  bool executed() const { return !denied; }
  uint32_t guest_errno() const { return denied ? 76 : result; }
};

struct Parameters {
  int64_t sequence, correlated, require, failures, denials, hosts, exchanges;
  size_t failures_gte, denials_gte, hosts_gte, exchanges_gte, bytes_gte;
};

// What is looked through. A sum is exact where no age lies between the window
// and a thirtieth more, so time goes in steps of ten seconds.
constexpr int64_t kStep = 10;
constexpr int64_t kSumWindow = 64;

std::string RulesFor(const Parameters& p) {
  return absl::StrCat(kImports, R"(
rules:
  - { id: no-x, when: 'call.name == "path_open" && args.path == "/p0"', action: deny }
temporal:
  - id: sequence
    sequence:
      steps: [ { as: a, when: 'call.name == "path_open" && args.path == "/p1"' }, { as: b, when: 'call.name == "send"' } ]
      unless: [ { when: 'call.name == "exchange" && result.errno == 0' } ]
      within: )",
                      p.sequence, R"(s
    action: alert
  - id: correlated
    sequence:
      steps: [ { as: a, when: 'call.name == "send"' }, { as: b, when: 'call.name == "connect" && args.addr.port == a.args.sock' } ]
      within: )",
                      p.correlated, R"(s
      max_partial: 1000
    action: alert
  - id: require
    require: { when: 'call.name == "connect"', formerly: { when: 'call.name == "resolve" && current.args.addr.ip in result.addrs' }, within: )",
                      p.require, R"(s, max_events: 500 }
    action: alert
  - id: failures
    count: { when: 'call.name == "path_open" && result.errno != 0', within: )",
                      p.failures, "s, gte: ", p.failures_gte, R"( }
    action: alert
  - id: denials
    count: { when: 'call.denied', within: )",
                      p.denials, "s, gte: ", p.denials_gte, R"( }
    scope: tenant
    action: alert
  - id: hosts
    distinct: { when: 'call.name == "connect"', value: args.addr.host, within: )",
                      p.hosts, "s, gte: ", p.hosts_gte, R"( }
    scope: tenant
    action: alert
  - id: bytes
    sum: { when: 'call.name == "send"', value: size(args.data), within: )",
                      kSumWindow, "s, gte: ", p.bytes_gte, R"( }
    scope: module
    action: alert
  - id: exchanges
    count: { when: 'call.name == "exchange"', within: )",
                      p.exchanges, "s, gte: ", p.exchanges_gte, R"( }
    action: deny
)");
}

class Model {
 public:
  explicit Model(const Parameters& p) : p_(p) {}

  // The rules that match at this event; decides whether it is stopped.
  std::set<std::string> Judge(Happened event) {
    std::set<std::string> matched;
    if (event.op == Op::kOpen && event.subject == 0) {
      event.denied = true;
      matched.insert("no-x");
    }
    const auto past = [&](int64_t within, const auto& is) {
      std::vector<size_t> found;
      for (size_t i = 0; i < all_.size(); ++i) {
        if (event.at - all_[i].at <= within && is(all_[i])) found.push_back(i);
      }
      return found;
    };
    const auto own = [&](const Happened& e) { return e.store == event.store; };
    if (event.op == Op::kExchange) {
      const size_t before = past(p_.exchanges, [&](const Happened& e) {
                              return own(e) && e.op == Op::kExchange;
                            }).size();
      if (before + 1 >= p_.exchanges_gte) {
        matched.insert("exchanges");
        event.denied = true;
      }
    }
    if (event.op == Op::kSend) {
      for (const size_t i : past(p_.sequence, [&](const Happened& e) {
             return own(e) && e.op == Op::kOpen && e.subject == 1 &&
                    e.executed();
           })) {
        const bool cleared =
            std::any_of(all_.begin() + static_cast<ptrdiff_t>(i) + 1,
                        all_.end(), [&](const Happened& e) {
                          return own(e) && e.op == Op::kExchange &&
                                 e.executed() && e.result == 0;
                        });
        if (!cleared) matched.insert("sequence");
      }
      size_t bytes = event.size;
      for (const size_t i : past(kSumWindow, [](const Happened& e) {
             return e.op == Op::kSend;
           })) {
        bytes += all_[i].size;
      }
      if (bytes >= p_.bytes_gte) matched.insert("bytes");
    }
    if (event.op == Op::kConnect) {
      if (!past(p_.correlated, [&](const Happened& e) {
             return own(e) && e.op == Op::kSend && e.executed() &&
                    e.subject == event.port;
           }).empty()) {
        matched.insert("correlated");
      }
      if (past(p_.require, [&](const Happened& e) {
            return own(e) && e.op == Op::kResolve && e.executed() &&
                   e.result == 0 && e.subject == event.subject;
          }).empty()) {
        matched.insert("require");
      }
      std::set<int> hosts = {event.subject};
      for (const size_t i : past(p_.hosts, [](const Happened& e) {
             return e.op == Op::kConnect;
           })) {
        hosts.insert(all_[i].subject);
      }
      if (hosts.size() >= p_.hosts_gte) matched.insert("hosts");
    }
    if (event.denied &&
        past(p_.denials, [](const Happened& e) { return e.denied; }).size() +
                1 >=
            p_.denials_gte) {
      matched.insert("denials");
    }
    if (event.op == Op::kOpen && event.guest_errno() != 0 &&
        past(p_.failures,
             [&](const Happened& e) {
               return own(e) && e.op == Op::kOpen && e.guest_errno() != 0;
             }).size() +
                1 >=
            p_.failures_gte) {
      matched.insert("failures");
    }
    all_.push_back(event);
    return matched;
  }
  bool stopped_last() const { return all_.back().denied; }

 private:
  const Parameters p_;
  std::vector<Happened> all_;
};

std::string Perform(MeteredStore& store, const Happened& event) {
  switch (event.op) {
    case Op::kTick:
      return store.Tick();
    case Op::kOpen:
      return store.Open(absl::StrCat("p", event.subject), event.result);
    case Op::kSend:
      return store.Send(std::string(event.size, 'x'),
                        static_cast<uint32_t>(event.subject));
    case Op::kConnect:
      return store.Connect(
          absl::StrCat("192.0.2.", event.subject, ":", event.port));
    case Op::kResolve:
      return store.Resolve(
          "host", absl::StrCat("198.51.100.1, 192.0.2.", event.subject),
          event.result);
    case Op::kExchange:
      return store.Exchange(event.result);
  }
  return "";
}

TEST_F(MetersTest, MatchesWhatLookingThroughAllEventsMatches) {
  std::mt19937 random(5);
  std::map<std::string, int> seen;
  const auto window = [&] {
    return kStep * static_cast<int64_t>(1 + random() % 9);
  };
  for (int run = 0; run < 40; ++run) {
    Parameters p;
    for (int64_t* w : {&p.sequence, &p.correlated, &p.require, &p.failures,
                       &p.denials, &p.hosts, &p.exchanges}) {
      *w = window();
    }
    for (size_t* n :
         {&p.failures_gte, &p.denials_gte, &p.hosts_gte, &p.exchanges_gte}) {
      *n = 1 + random() % 5;
    }
    p.bytes_gte = 1 + random() % 200;
    policy_ = CompileGood(RulesFor(p));
    RuleStates states(RuleStates::Options{{random(), random()}, 100});
    now_ = absl::UnixEpoch();
    std::vector<std::unique_ptr<MeteredStore>> stores;
    for (const char* const id : {"a", "b"}) {
      stores.push_back(std::make_unique<MeteredStore>(
          std::vector<std::shared_ptr<const Policy>>{policy_}, &now_, &states,
          MeteredStoreOptions{"acme", "sha256:00", id}));
    }
    Model model(p);
    int64_t at = 0;
    for (int i = 0; i < 250; ++i) {
      if (random() % 3 == 0) at += kStep * static_cast<int64_t>(random() % 3);
      now_ = absl::UnixEpoch() + absl::Seconds(at);
      Happened event;
      event.store = random() % 2;
      event.op = static_cast<Op>(random() % 6);
      event.at = at;
      event.subject = static_cast<int>(random() % 4);
      event.port = static_cast<int>(random() % 4);
      event.size = random() % 40;
      event.result = random() % 3 == 0 ? 9 : 0;
      MeteredStore& store = *stores[event.store];
      store.matched.clear();
      const std::string came = Perform(store, event);
      const std::set<std::string> wanted = model.Judge(event);
      ASSERT_EQ(store.matched, wanted) << "run " << run << " event " << i;
      ASSERT_EQ(came == "errno 76", model.stopped_last())
          << "run " << run << " event " << i;
      for (const std::string& rule : wanted) ++seen[rule];
    }
    for (const auto& store : stores) {
      EXPECT_TRUE(store->forgot.empty());
      EXPECT_TRUE(store->failures.empty());
    }
  }
  // Each has had its say, and often not.
  EXPECT_EQ(seen.size(), 9u);
  for (const auto& [rule, times] : seen) {
    EXPECT_GT(times, 50) << rule;
    EXPECT_LT(times, 9'000) << rule;
  }
}

}  // namespace
}  // namespace callgate::policy
