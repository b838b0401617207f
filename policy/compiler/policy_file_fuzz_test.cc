// Drives the fuzz entry over mutated policy files, a fixed number of times with
// a fixed seed: what libFuzzer does without end where there is one.

#include "policy/compiler/policy_file_fuzz.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"

namespace {

constexpr int kMutationsPerSeed = 800;

void Feed(const std::string& input) {
  // SAFETY: characters may be looked at as bytes.
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

// Words that a random byte would not hit upon.
const char* const kWords[] = {
    "imports",
    "budgets",
    "action",
    "allow",
    "deny",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "---\n",
    "...\n",
    "? ",
    "|\n",
    ">-\n",
    "%YAML 1.2\n",
    "\xff",
    "\xef\xbb\xbf",
    "\n",
    "\t",
    "\"",
    "'",
    "#",
    "18446744073709551616",
    "-1",
    "1e999",
    "0s",
    "99999h",
    "~",
    "null",
    "audit",
    "include",
    "args",
    "when",
    "rules",
    "lists",
    "macros",
    "exceptions",
    "list(\"secret\")",
    "temporal",
    "sequence",
    "unless",
    "attempts: true",
    "result.errno",
    "call.denied",
    "within: 1s",
    "scope: module",
    "on_overflow: trap",
    "args.path",
    "args.data",
    "args.addr.ip",
    "args.fd.path",
    "call.import == ",
    " && ",
    " || !",
    ".exists(x, x > 1)",
    "size(",
    "math.bitAnd(",
    "${args.path}",
    "${args.data:raw}",
    "throttle",
    "kill_store",
    "quarantine_module",
    "log",
    "1 / 0",
    "9223372036854775807",
    "\\u{",
    "a.b",
    "\"a\".\"b\"",
};

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  std::string Mutate(std::string text, const std::string& other) {
    const size_t times = 1 + Below(4);
    for (size_t i = 0; i < times; ++i) Once(&text, other);
    return text;
  }

 private:
  size_t Below(size_t n) { return n == 0 ? 0 : random_() % n; }

  void Once(std::string* text, const std::string& other) {
    const size_t at = Below(text->size() + 1);
    switch (Below(6)) {
      case 0:
        if (at < text->size()) (*text)[at] = static_cast<char>(Below(256));
        return;
      case 1:
        text->insert(at, kWords[Below(std::size(kWords))]);
        return;
      case 2:
        text->erase(at, 1 + Below(20));
        return;
      case 3: {
        // A piece of itself again, as lines often are.
        const size_t from = Below(text->size() + 1);
        text->insert(at, text->substr(from, 1 + Below(200)));
        return;
      }
      case 4: {
        const size_t from = Below(other.size() + 1);
        text->insert(at, other.substr(from, 1 + Below(200)));
        return;
      }
      default:
        text->resize(at);
        return;
    }
  }

  std::mt19937 random_;
};

std::string Read(const char* path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_FALSE(text.str().empty()) << path;
  return text.str();
}

// Small, so that most changes hit a rule.
constexpr char kRules[] = R"(api_version: callgate.policy/v1
kind: Policy
metadata: {name: r}
lists:
  - {name: secret, kind: glob, items: ["/config/secrets/**", "**/.ssh/?"]}
  - {name: nets, kind: cidr, items: ["10.0.0.0/8", "fc00::/7"]}
  - {name: shapes, kind: re2, items: ["AKIA[0-9A-Z]{16}"]}
macros:
  - {name: egress, when: 'call.import in ["net.send", "net.connect"]'}
  - {name: late, when: 'egress && store.calls > 3'}
imports:
  - {import: net.send, action: allow}
  - {import: net.connect, action: allow, when: '!(args.addr.ip in list("nets"))'}
  - {import: a.b, action: allow}
  - {import: wasi_snapshot_preview1.path_open, action: allow, args: [{name: path}]}
  - {import: wasi_snapshot_preview1.fd_write, action: allow}
  - {import: wasi_snapshot_preview1.random_get, action: allow, when: 'args.len < 99'}
rules:
  - {id: r1, when: 'late && has(args.data) && args.data.matches(list("shapes"))', action: deny, message: 'sent ${args.data}'}
  - {id: r2, when: 'call.name == "path_open" && (args.path in list("secret") || math.bitAnd(args.rights, 64u) != 0u)', action: trap}
  - {id: r3, when: 'call.import == "a.b" && args.x / args.x == 1 && args.y > 0.5', action: log, severity: debug}
  - {id: r4, when: 'has(args.iovs) && size(args.iovs) > 5 && now - now == duration("0s")', action: throttle, throttle: {base_delay: 1ms, factor: 2, max_delay: 1s, cool_down: 10s}}
  - {id: r5, when: 'call.seq > 20', action: kill_store, mode: audit}
rate_limits:
  - {import: net.send, refill_per_second: 1, burst: 2, action: deny}
  - {id: l, when: 'egress', key: [call.import, tenant], refill_per_second: 2, burst: 3, action: throttle, max_keys: 2, cost: 'size(args.data)'}
temporal:
  - {id: t1, sequence: {steps: [{as: a, when: 'call.name == "path_open"'}, {as: b, when: 'egress', attempts: true}], unless: [{as: c, when: 'call.name == "fd_write" && result.errno == 0'}], within: 1s}, action: deny, message: 'after ${a.args.path}'}
  - {id: t2, count: {when: 'call.name == "random_get"', within: 10s, gte: 2, key: [call.site], max_keys: 2}, action: throttle, throttle: {base_delay: 1ms, factor: 2, max_delay: 1s, cool_down: 10s}}
  - {id: t3, distinct: {when: 'call.import == "a.b"', value: args.x, within: 60s, gte: 2, max_values: 8}, action: alert}
  - {id: t4, sum: {when: 'call.import == "net.send"', value: size(args.data), within: 60s, gte: 99, count_in_flight: true}, scope: tenant, action: deny}
  - {id: t5, require: {when: 'call.import == "net.connect"', formerly: {as: f, when: 'call.name == "path_open"'}, within: 2s}, action: deny, mode: audit}
exceptions:
  - {rule: r2, name: e, fields: [tenant], comps: ["=="], values: [{v: [acme]}], reason: x, expires: "2027-01-31"}
)";

std::vector<std::string> Seeds() {
  return {
      std::string(1, '\0') + Read("policy/file/testdata/whole_format.yaml"),
      std::string(1, '\0') + Read("deploy/policies/connector.yaml"),
      std::string(1, '\0') + Read("deploy/policies/confined-paths.yaml"),
      std::string(1, '\0') + kRules,
      std::string(1, '\0') +
          "api_version: callgate.policy/v1\nkind: Policy\n"
          "metadata: {name: a}\n"
          "imports: [{import: a.b, action: allow}]\n",
      std::string(1, '\1') +
          "api_version: 'callgate.policy/v1' kind: 'Policy'\n"
          "metadata { name: 'a' labels { key: 'b' value: 'c' } }\n"
          "budgets { fuel_per_call: 1 wall_per_call { seconds: 2 } }\n"
          "imports { import: 'a.b' action: ACTION_DENY guest_errno: 2 }\n",
  };
}

// CALLGATE_FUZZ_SECONDS makes a long run of it.
std::chrono::seconds TimeToRun() {
  const char* const text = std::getenv("CALLGATE_FUZZ_SECONDS");
  return std::chrono::seconds(text == nullptr ? 0 : std::atoi(text));
}

TEST(PolicyFileFuzz, SeedsPass) {
  for (const std::string& seed : Seeds()) Feed(seed);
}

// Else the mutations begin with what no policy comes of.
TEST(PolicyFileFuzz, TheSeedWithRulesIsAPolicy) {
  const auto compiled = callgate::policy::CompilePolicyText(kRules, "r.yaml");
  for (const auto& problem : compiled.problems) {
    ADD_FAILURE() << problem.ToString();
  }
}

TEST(PolicyFileFuzz, MutationsPass) {
  const std::vector<std::string> seeds = Seeds();
  const auto end = std::chrono::steady_clock::now() + TimeToRun();
  uint64_t inputs = 0;
  uint32_t random_seed = 20240229;
  do {
    Mutator mutator(random_seed++);
    for (size_t s = 0; s < seeds.size(); ++s) {
      for (int i = 0; i < kMutationsPerSeed; ++i, ++inputs) {
        Feed(mutator.Mutate(seeds[s], seeds[(s + 1) % seeds.size()]));
      }
    }
  } while (std::chrono::steady_clock::now() < end);
  std::cout << inputs << " inputs\n";
}

TEST(PolicyFileFuzz, RandomBytesPass) {
  std::mt19937 random(20240301);
  for (int i = 0; i < 2000; ++i) {
    std::string input(random() % 300, '\0');
    for (char& c : input) c = static_cast<char>(random() % 256);
    Feed(input);
  }
}

}  // namespace
