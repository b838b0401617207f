#include "policy/trial/policy_tests.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/trial/fake_catalogue.h"

namespace callgate::policy::trial {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Reads, may say where; sends what it reads at a rate.
constexpr char kPolicy[] = R"(api_version: callgate.policy/v1
kind: Policy
metadata: { name: sample }
lists:
  - { name: secrets, kind: glob, items: ["/config/secrets/**"] }
imports:
  - { import: files.open, action: allow }
  - id: secret
    import: files.open
    action: deny
    guest_errno: 2
    when: 'args.path in list("secrets")'
    message: 'opens ${args.path}'
  - import: net.send
    action: allow
    args:
      - { name: sock, index: 0, type: handle }
      - { name: data, index: 1, type: bytes, len_index: 2, max_bytes: 64 }
  - id: token
    import: net.send
    action: kill_store
    when: 'args.data.contains(b"TOKEN")'
  - id: late
    import: net.close
    action: log
  - { import: net.close, action: allow }
rules:
  - { id: trial, when: 'call.import == "net.close" && call.caller == "evil"', action: trap, mode: audit }
rate_limits:
  - { id: rate, import: net.close, refill_per_second: 1, burst: 2, action: deny }
exceptions:
  - { rule: late, fields: [tenant], comps: ["=="], values: [ { v: [test] } ], reason: not yet, expires: "2026-01-31" }
)";

LoadedPolicyFile Load(const std::string& tests) {
  LoadResult loaded =
      LoadPolicyYaml(absl::StrCat(kPolicy, "tests:\n", tests), "sample.yaml");
  for (const Problem& problem : loaded.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  return *std::move(loaded.file);
}

PolicyTestReport ReportOf(const std::string& tests) {
  const LoadedPolicyFile file = Load(tests);
  const CompileResult compiled = CompilePolicy(file);
  for (const Problem& problem : compiled.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  return RunPolicyTests(file, compiled.policy, FakeCatalogue());
}

// Of a run whose tests are well written.
std::vector<std::string> FailuresOf(const std::string& tests) {
  const PolicyTestReport report = ReportOf(tests);
  std::vector<std::string> messages;
  for (const Problem& problem : report.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  for (const Problem& failure : report.Failures("sample.yaml")) {
    messages.push_back(failure.ToString());
  }
  return messages;
}

std::vector<std::string> ProblemsOf(const std::string& tests) {
  std::vector<std::string> messages;
  for (const Problem& problem : ReportOf(tests).problems) {
    messages.push_back(problem.ToString());
  }
  return messages;
}

TEST(PolicyTestsTest, PassesWhatThePolicySays) {
  EXPECT_THAT(FailuresOf(R"(
  - name: secrets are out of reach
    events:
      - { import: files.open, args: { path: /config/secrets/db } }
      - { import: files.open, args: { path: /config/plain } }
      - { import: files.open, args: { dir: /config/secrets, path: ../secrets/db } }
    expect:
      - { event: 0, verdict: deny, guest_errno: 2, rules: [secret], message: "/config/secrets/db" }
      - { event: 1, verdict: allow, no_rules: true, not_rules: [secret] }
      - { event: 2, verdict: deny }
  - name: a token ends the Store for good
    events:
      - { at: 1s, import: net.send, args: { sock: "5", data: hello } }
      - { at: 2s, import: net.send, args: { sock: "5", data: a TOKEN } }
      - { at: 3s, import: net.close }
    expect:
      - { event: 0, verdict: allow }
      - { event: 1, verdict: kill_store, rules: [token] }
      - { event: 2, verdict: kill_store, rules: [token] }
)"),
              IsEmpty());
}

TEST(PolicyTestsTest, SaysWhatCameInsteadAndWhere) {
  EXPECT_THAT(
      FailuresOf(R"(
  - name: hopeful
    events:
      - { at: 90s, import: files.open, args: { path: /config/secrets/db } }
    expect:
      - { event: 0, verdict: allow }
      - { event: 0, not_rules: [secret] }
      - { event: 0, verdict: deny, guest_errno: 76 }
)"),
      ElementsAre(
          "sample.yaml:39:9: test \"hopeful\": event 0 (files.open at 1m30s): "
          "expected allow; it was deny(2) by sample/secret, and the rules that "
          "matched are [secret]: opens \"/config/secrets/db\"",
          HasSubstr(
              "sample.yaml:40:9: test \"hopeful\": event 0 (files.open at "
              "1m30s): expected rule secret not to match"),
          HasSubstr("expected errno 76")));
}

TEST(PolicyTestsTest, EachTestBeginsAnewAndItsClockIsItsOwn) {
  EXPECT_THAT(FailuresOf(R"(
  - name: the rate
    events:
      - { import: net.close, repeat: 4 }
      - { at: 10s, import: net.close }
    expect:
      - { event: 0, time: 2, verdict: allow }
      - { event: 0, time: 3, verdict: deny, guest_errno: 6, rules: [rate] }
      - { event: 0, verdict: deny }
      - { event: 1, verdict: allow }
  - name: nothing is left of it
    events: [ { import: net.close, repeat: 4, every: 1s } ]
    expect: [ { event: 0, verdict: allow } ]
  - name: before the day
    start: "2026-01-31T23:59:59Z"
    events: [ { import: net.close }, { at: 1s, import: net.close } ]
    expect:
      - { event: 0, no_rules: true }
      - { event: 1, verdict: log, rules: [late] }
)"),
              IsEmpty());
}

TEST(PolicyTestsTest, KnowsStoresCallersAuditAndFailures) {
  EXPECT_THAT(FailuresOf(R"(
  - name: two Stores have a bucket each
    stores: [ { name: a }, { name: b, tenant: other } ]
    events:
      - { store: a, import: net.close, repeat: 2 }
      - { store: b, import: net.close }
      - { store: a, import: net.close }
    expect:
      - { event: 1, verdict: log, rules: [late] }
      - { event: 2, verdict: deny }
  - name: audit
    events: [ { import: net.close, caller: evil, site: 7, result: error } ]
    expect: [ { event: 0, verdict: allow, would_be: trap, rules: [trial] } ]
  - name: unlisted
    events: [ { import: net.listen } ]
    expect: [ { event: 0, verdict: deny, rules: ["default:unlisted_import"] } ]
)"),
              IsEmpty());
}

TEST(PolicyTestsTest, ArgumentsGoThroughTheCaptureOfRealCalls) {
  EXPECT_THAT(FailuresOf(R"(
  - name: bounds
    events:
      - { import: net.send, sizes: { data: 64 } }
      - { import: net.send, sizes: { data: 65 } }
      - { import: net.send, outside: [data] }
    expect:
      - { event: 0, verdict: allow }
      - { event: 1, verdict: deny, guest_errno: 1 }
      - { event: 2, verdict: deny, guest_errno: 21 }
)"),
              IsEmpty());
}

TEST(PolicyTestsTest, CountsWhatRulesMatched) {
  const PolicyTestReport report = ReportOf(R"(
  - name: one
    events:
      - { import: files.open, args: { path: /config/secrets/db }, repeat: 3 }
      - { import: files.open, args: { path: /config/plain } }
      - { import: net.close }
    expect: [ { event: 0, verdict: deny } ]
)");
  const auto of = [&](absl::string_view rule) -> const RuleCoverage& {
    for (const RuleCoverage& coverage : report.coverage) {
      if (coverage.rule == rule) return coverage;
    }
    ADD_FAILURE() << rule;
    return report.coverage.front();
  };
  EXPECT_EQ(of("secret").matched, 3);
  EXPECT_TRUE(of("secret").has_condition);
  EXPECT_EQ(of("secret").was_true, 3);
  EXPECT_EQ(of("secret").was_false, 1);
  EXPECT_EQ(of("trial").was_false, 1);
  EXPECT_EQ(of("late").excepted, 1);
  EXPECT_EQ(of("late").matched, 0);
  EXPECT_EQ(of("secret").position.line, 8);
  EXPECT_EQ(of("token").matched, 0);
}

// With rules about anomalies.
constexpr char kAnomalyPolicy[] = R"(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: anomalies }
defaults: { on_engine_error: deny }
imports:
  - { import: wasi_snapshot_preview1.random_get, action: allow }
  - { import: net.close, action: allow }
anomaly:
  - id: shape
    when_no_profile: deny
    thresholds:
      - { when: 'score.frame >= 2', action: alert }
      - { when: 'score.strange >= 1 && score.novel', action: trap }
      - { when: 'score.frame >= 4', action: throttle, throttle: { base_delay: 5ms, factor: 2, max_delay: 1s, cool_down: 1s } }
      - { when: 'score.calls >= 4 && score.novelty >= 0.5', action: log }
    frequency: { ewma_alpha: 0.05, z_score: 6, min_samples: 1000, action: deny, guest_errno: 63 }
exceptions:
  - { rule: shape, fields: [call.import], comps: ["=="], values: [ { v: [net.close] } ], reason: it is known, expires: "2030-01-01" }
tests:
)";

std::vector<std::string> AnomalyLines(const std::string& tests, bool problems) {
  const LoadResult loaded =
      LoadPolicyYaml(absl::StrCat(kAnomalyPolicy, tests), "sample.yaml");
  std::vector<std::string> lines;
  for (const Problem& problem : loaded.problems) {
    lines.push_back(problem.ToString());
  }
  if (!loaded.ok()) return lines;
  const CompileResult compiled = CompilePolicy(*loaded.file);
  for (const Problem& problem : compiled.problems) {
    lines.push_back(problem.ToString());
  }
  if (!compiled.ok()) return lines;
  const PolicyTestReport report =
      RunPolicyTests(*loaded.file, compiled.policy, FakeCatalogue());
  const std::vector<Problem> found =
      problems ? report.problems : report.Failures("sample.yaml");
  if (!problems) {
    EXPECT_THAT(report.problems, IsEmpty());
    EXPECT_EQ(report.coverage[0].rule, "shape");
  }
  for (const Problem& problem : found) lines.push_back(problem.ToString());
  return lines;
}

TEST(PolicyTestsTest, EventsHaveScores) {
  EXPECT_THAT(AnomalyLines(R"(
  - name: thresholds, one after the other
    events:
      - { import: wasi_snapshot_preview1.random_get, score: { frame: 1, novel: true } }
      - { import: wasi_snapshot_preview1.random_get, score: { frame: 2 } }
      - { import: wasi_snapshot_preview1.random_get, score: { frame: 3, novel: true, strange: 1 } }
      - { import: wasi_snapshot_preview1.random_get, score: { frame: 4 }, at: 2s, repeat: 2 }
      - { import: wasi_snapshot_preview1.random_get, score: { share_z: 5.99 } }
      - { import: wasi_snapshot_preview1.random_get, score: { share_z: 6 } }
    expect:
      - { event: 0, verdict: allow, no_rules: true }
      - { event: 1, verdict: alert, rules: [shape], message: 2 of the last 20 }
      - { event: 2, verdict: trap }
      - { event: 3, time: 1, verdict: throttle, delay: 5ms }
      - { event: 3, time: 2, verdict: throttle, delay: 10ms }
      - { event: 4, verdict: allow, no_rules: true }
      - { event: 5, verdict: deny, guest_errno: 63, message: more often than ever }
  - name: a Store with a score has a profile, and its other calls are as usual
    stores: [ { name: known }, { name: new } ]
    events:
      - { store: known, import: wasi_snapshot_preview1.random_get }
      - { store: known, import: wasi_snapshot_preview1.random_get, score: {} }
      - { store: new, import: wasi_snapshot_preview1.random_get }
    expect:
      - { event: 0, verdict: allow, no_rules: true }
      - { event: 1, verdict: allow, no_rules: true }
      - { event: 2, verdict: deny, rules: [shape], message: no profile }
  - name: what is excepted
    events:
      - { import: net.close, score: { frame: 5, novel: true, strange: 2 } }
      - { import: wasi_snapshot_preview1.random_get, score: { frame: 5 } }
    expect:
      - { event: 0, verdict: allow, no_rules: true }
      - { event: 1, verdict: throttle }
  - name: calls are counted unless they are given
    events:
      - { import: wasi_snapshot_preview1.random_get, score: { total: 3 }, repeat: 6 }
      - { import: wasi_snapshot_preview1.random_get, score: { total: 3 } }
      - { import: wasi_snapshot_preview1.random_get, score: { total: 3, calls: 6 } }
    expect:
      - { event: 0, time: 3, verdict: allow, no_rules: true }
      - { event: 0, time: 4, verdict: log }
      - { event: 0, time: 6, verdict: allow, no_rules: true }
      - { event: 1, verdict: allow, no_rules: true }
      - { event: 2, verdict: log }
  - name: the engine fails
    events:
      - { import: wasi_snapshot_preview1.random_get, score: {}, engine_error: true }
      - { import: wasi_snapshot_preview1.random_get }
    expect:
      - { event: 0, verdict: deny, rules: ["default:on_engine_error"] }
      - { event: 1, verdict: allow, no_rules: true }
)",
                           /*problems=*/false),
              IsEmpty());
}

TEST(PolicyTestsTest, ScoresThatCannotBeAreRefused) {
  struct {
    const char* event;
    const char* problem;
  } const rows[] = {
      {"score: { frame: 21 }", "score.frame: is 21; a frame has at most 20"},
      {"score: { frame: 2, strange: 3 }",
       "score.strange: is 3; what was never"},
      {"score: { frame: 2, recent: 1 }", "score.recent: is 1; it has what"},
      {"score: { recent: 1025 }", "score.recent: is 1025; it has what"},
      {"score: { recent: 5, total: 4 }", "score.total: is 4; it has what"},
      {"score: { total: 5, calls: 4 }", "score.calls: is 4; those that"},
      {"score: { novel: true }", "score.novel: a novel call is in the frame"},
      {"score: { share_z: -1 }", "score.share_z: is not 0 or more"},
      {"score: { share_z: NaN }", "score.share_z"},
      {"score: { novelty: 0.5 }", "novelty"},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(
        AnomalyLines(
            absl::StrCat("  - { name: a, events: [ { import: net.close, ",
                         row.event,
                         " } ], expect: [ { event: 0, verdict: allow } ] }\n"),
            /*problems=*/true),
        testing::Contains(HasSubstr(row.problem)))
        << row.event;
  }
  for (const char* field : {"score: {}", "engine_error: true"}) {
    EXPECT_THAT(
        AnomalyLines(absl::StrCat("  - { name: a, events: [ { event: "
                                  "memory_grow, current: 1, desired: 2, ",
                                  field,
                                  " } ], expect: [ { event: 0, verdict: allow "
                                  "} ] }\n"),
                     /*problems=*/true),
        testing::Contains(HasSubstr("does not go with a growth")));
  }
  // Nobody would read it.
  EXPECT_THAT(
      ProblemsOf("  - { name: a, events: [ { import: net.close, score: {} } ], "
                 "expect: [ { event: 0, verdict: allow } ] }\n"),
      testing::Contains(HasSubstr("no rule under anomaly")));
}

struct Row {
  std::string name;
  std::string test;
  std::string problem;
};

class BadTests : public testing::TestWithParam<Row> {};

TEST_P(BadTests, AreRefusedWithTheirPlace) {
  EXPECT_THAT(ProblemsOf(GetParam().test),
              testing::Contains(HasSubstr(GetParam().problem)));
}

INSTANTIATE_TEST_SUITE_P(
    Problems, BadTests,
    testing::ValuesIn<Row>({
        {"no_name", "  - events: [ { import: net.close } ]\n",
         "sample.yaml:34:5: tests[0]: has no name"},
        {"no_events", "  - { name: a, expect: [ { event: 0 } ] }\n",
         "tests[0]: has no events"},
        {"no_expectation",
         "  - { name: a, events: [ { import: net.close } ] }\n",
         "tests[0]: expects nothing"},
        {"same_name",
         "  - { name: a, events: [ { import: net.close } ], expect: [ { event: "
         "0, verdict: allow } ] }\n"
         "  - { name: a, events: [ { import: net.close } ], expect: [ { event: "
         "0, verdict: allow } ] }\n",
         "sample.yaml:35:7: tests[1].name: there is another test \"a\""},
        {"unknown_argument",
         "  - { name: a, events: [ { import: net.send, args: { dat: x } } ] "
         "}\n",
         "tests[0].events[0].args[\"dat\"]: the function has no such argument; "
         "did you mean data?"},
        {"nothing_known",
         "  - { name: a, events: [ { import: net.close, args: { dat: x } } ] "
         "}\n",
         "nothing is known of this function's arguments"},
        {"not_a_number",
         "  - { name: a, events: [ { import: files.open, args: { flags: -1 } } "
         "] }\n",
         "tests[0].events[0].args[\"flags\"]: \"-1\" is no u32"},
        {"too_large_a_number",
         "  - { name: a, events: [ { import: files.open, args: { flags: "
         "4294967296 } } ] }\n",
         "is no u32"},
        {"not_a_handle",
         "  - { name: a, events: [ { import: files.open, args: { dir: config } "
         "} ] }\n",
         "is no handle: write a number, or the path that it was opened as"},
        {"size_of_number",
         "  - { name: a, events: [ { import: files.open, sizes: { flags: 1 } } "
         "] "
         "}\n",
         "tests[0].events[0].sizes[\"flags\"]: is a u32, which has no size"},
        {"size_too_large",
         "  - { name: a, events: [ { import: net.send, sizes: { data: 16777217 "
         "} } ] }\n",
         "is no number from 0 to 16777216"},
        {"twice",
         "  - { name: a, events: [ { import: net.send, args: { data: x }, "
         "sizes: { data: 1 } } ] }\n",
         "is given twice"},
        {"outside_number",
         "  - { name: a, events: [ { import: files.open, outside: [flags] } ] "
         "}\n",
         "tests[0].events[0].outside[0]: is no address"},
        {"bad_import", "  - { name: a, events: [ { import: close } ] }\n",
         "tests[0].events[0].import: "},
        {"no_import", "  - { name: a, events: [ { at: 1s } ] }\n",
         "tests[0].events[0]: says no import to call"},
        {"bad_result",
         "  - { name: a, events: [ { import: net.close, result: perhaps } ] "
         "}\n",
         "tests[0].events[0].result: \"perhaps\" is not `ok`, `error` or an "
         "errno's number"},
        {"no_errno",
         "  - { name: a, events: [ { import: files.exit, result: 5 } ] }\n",
         "the function returns no errno"},
        {"backwards",
         "  - { name: a, events: [ { at: 2s, import: net.close }, { at: 1s, "
         "import: net.close } ] }\n",
         "tests[0].events[1].at: lies before the end of the event above, at "
         "2s"},
        {"backwards_over_repetition",
         "  - { name: a, events: [ { import: net.close, repeat: 3, every: 1s "
         "}, "
         "{ at: 1s, import: net.close } ] }\n",
         "tests[0].events[1].at: lies before the end of the event above, at "
         "2s"},
        {"repeat_of_nothing",
         "  - { name: a, events: [ { import: net.close, repeat: 0 } ] }\n",
         "is not between 1 and 100000"},
        {"too_many_events",
         "  - { name: a, events: [ { import: net.close, repeat: 100000 }, { "
         "import: net.close } ] }\n",
         "tests[0].events[1]: the tests of this policy have more than 100000 "
         "events"},
        {"too_many_bytes",
         "  - { name: a, events: [ { import: net.send, sizes: { data: 16777216 "
         "}, repeat: 17 } ] }\n",
         "the tests of this policy have more than 268435456 bytes"},
        {"no_such_store",
         "  - { name: a, stores: [ { name: one } ], events: [ { import: "
         "net.close, store: two } ] }\n",
         "tests[0].events[0].store: there is no Store \"two\" in this test"},
        {"bad_start",
         "  - { name: a, start: tomorrow, events: [ { import: net.close } ] "
         "}\n",
         "tests[0].start: \"tomorrow\" is no time in UTC"},
        {"no_such_event",
         "  - { name: a, events: [ { import: net.close } ], expect: [ { event: "
         "1, verdict: allow } ] }\n",
         "tests[0].expect[0].event: there is no event 1; the test has 1"},
        {"no_such_time",
         "  - { name: a, events: [ { import: net.close, repeat: 2 } ], expect: "
         "[ { event: 0, time: 3, verdict: allow } ] }\n",
         "tests[0].expect[0].time: is not between 1 and 2"},
        {"no_such_rule",
         "  - { name: a, events: [ { import: net.close } ], expect: [ { event: "
         "0, not_rules: [secrets] } ] }\n",
         "tests[0].expect[0].not_rules[0]: the policy has no rule \"secrets\"; "
         "did you mean secret?"},
        {"says_nothing",
         "  - { name: a, events: [ { import: net.close } ], expect: [ { event: "
         "0 } ] }\n",
         "tests[0].expect[0]: expects nothing"},
        {"contradiction",
         "  - { name: a, events: [ { import: net.close } ], expect: [ { event: "
         "0, rules: [rate], no_rules: true } ] }\n",
         "tests[0].expect[0].no_rules: contradicts `rules`"},
        {"errno_of_trap",
         "  - { name: a, events: [ { import: net.close } ], expect: [ { event: "
         "0, verdict: trap, guest_errno: 5 } ] }\n",
         "tests[0].expect[0].guest_errno: goes with `verdict: deny` only"},
        {"growth_with_import",
         "  - { name: a, events: [ { event: memory_grow, import: net.close, "
         "current: 1, desired: 2 } ] }\n",
         "does not go with a growth"},
        {"no_function", "  - { name: a, events: [ { event: function } ] }\n",
         "says no function to enter: neither `function` nor `index`"},
        {"no_parameter",
         "  - { name: a, events: [ { event: function, function: f, args: { "
         "size: 1 } } ] }\n",
         "is no parameter of a function: those are p0, p1"},
        {"no_number",
         "  - { name: a, events: [ { event: function, function: f, args: { "
         "p0: x } } ] }\n",
         "tests[0].events[0].args[\"p0\"]: \"x\" is no number"},
        {"args_of_a_growth",
         "  - { name: a, events: [ { event: memory_grow, args: { p0: 1 }, "
         "desired: 1 } ] }\n",
         "tests[0].events[0].args: does not go with a growth"},
        {"index_of_a_call",
         "  - { name: a, events: [ { import: net.close, index: 1 } ] }\n",
         "tests[0].events[0].index: does not go with a call"},
        {"less_than_what_grows",
         "  - { name: a, events: [ { event: memory_grow, current: 5, desired: "
         "6, memory_bytes: 4 } ] }\n",
         "tests[0].events[0].memory_bytes: is less than `current`"},
        {"more_than_there_is",
         "  - { name: a, events: [ { import: net.close, memory_bytes: "
         "18446744073709551615 } ] }\n",
         "tests[0].events[0].memory_bytes: is more than 281474976710656"},
        {"shrinks",
         "  - { name: a, events: [ { event: memory_grow, current: 2, desired: "
         "2 "
         "} ] }\n",
         "tests[0].events[0].desired: is not more than `current`"},
    }),
    [](const auto& row) { return row.param.name; });

// What happens inside the guest: growths and functions, and what they cover.
TEST(PolicyTestsTest, GrowthsAndFunctionsAreShownAndCovered) {
  const LoadResult loaded = LoadPolicyYaml(R"(api_version: callgate.policy/v1
kind: Policy
metadata: { name: sample }
imports: [ { import: net.close, action: allow } ]
rules:
  - { id: pressure, event: memory_grow, when: 'store.memory_bytes > 1000 && grow.index == 1', action: deny }
  - { id: burnt, when: 'store.fuel_used > 500 && store.memory_bytes == 70000 && call.depth == 4', action: deny }
  - { id: tables, event: table_grow, when: 'store.fuel_used > 500', action: trap }
  - { id: parse, event: function, function: 'parse_*', when: 'args.p0 > 100 && args.p1 < 0.5 && call.depth == 2', action: trap }
  - { id: twelfth, event: function, function: '#12', when: 'store.memory_bytes > 9', action: log }
exceptions:
  - { rule: twelfth, name: spared, fields: [call.caller], comps: ['=='], values: [ { v: [friend] } ], reason: it may, expires: '2999-01-01' }
tests:
  - name: growths
    events:
      - { event: memory_grow, current: 0, desired: 500, index: 1, memory_bytes: 1001 }
      - { event: memory_grow, current: 0, desired: 500, index: 0, memory_bytes: 1001 }
      - { event: memory_grow, current: 0, desired: 500, index: 1 }
      - { event: table_grow, current: 0, desired: 5, fuel_used: 501 }
      - { import: net.close, fuel_used: 501, memory_bytes: 70000, depth: 4 }
      - { import: net.close, fuel_used: 501, memory_bytes: 70000 }
    expect:
      - { event: 0, verdict: deny, rules: [pressure] }
      - { event: 1, verdict: allow, no_rules: true }
      - { event: 2, verdict: allow, no_rules: true }
      - { event: 3, verdict: trap, rules: [tables] }
      - { event: 4, verdict: deny, rules: [burnt] }
      - { event: 5, verdict: allow, no_rules: true }
  - name: functions
    events:
      - { event: function, function: parse_header, args: { p0: "101", p1: "-1.5" }, depth: 2 }
      - { event: function, function: parse_header, args: { p0: "100", p1: "-1.5" }, depth: 2 }
      - { event: function, function: main, args: { p0: "101" } }
      - { event: function, index: 12, memory_bytes: 10 }
      - { event: function, index: 12, memory_bytes: 10, caller: friend }
      - { event: function, index: 13, memory_bytes: 10 }
    expect:
      - { event: 0, verdict: trap, rules: [parse] }
      - { event: 1, verdict: allow, no_rules: true }
      - { event: 2, verdict: allow, no_rules: true }
      - { event: 3, verdict: log, rules: [twelfth] }
      - { event: 4, verdict: allow, no_rules: true }
      - { event: 5, verdict: allow, no_rules: true }
)",
                                           "sample.yaml");
  ASSERT_TRUE(loaded.ok()) << loaded.problems[0].ToString();
  const CompileResult compiled = CompilePolicy(*loaded.file);
  ASSERT_TRUE(compiled.ok()) << compiled.problems[0].ToString();
  const PolicyTestReport report =
      RunPolicyTests(*loaded.file, compiled.policy, FakeCatalogue());
  for (const Problem& problem : report.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  for (const Problem& failure : report.Failures("sample.yaml")) {
    ADD_FAILURE() << failure.ToString();
  }
  std::vector<std::string> covered;
  for (const RuleCoverage& rule : report.coverage) {
    if (rule.was_true + rule.was_false == 0) continue;
    covered.push_back(absl::StrCat(
        rule.rule, " matched ", rule.matched, " true ", rule.was_true,
        " false ", rule.was_false, " excepted ", rule.excepted));
  }
  EXPECT_THAT(covered, testing::UnorderedElementsAre(
                           "pressure matched 1 true 1 false 2 excepted 0",
                           "burnt matched 1 true 1 false 1 excepted 0",
                           "tables matched 1 true 1 false 0 excepted 0",
                           "parse matched 1 true 1 false 1 excepted 0",
                           "twelfth matched 1 true 2 false 0 excepted 1"));
}

// What a test makes the policy judge that no module could bring.
TEST(PolicyTestsTest, AnImportThatThePolicyCannotJudgeIsAProblem) {
  const LoadResult loaded = LoadPolicyYaml(R"(api_version: callgate.policy/v1
kind: Policy
metadata: { name: sample }
imports:
  - { import: net.send, action: allow, when: 'args.data.size() > 1' }
tests:
  - name: a
    events: [ { import: net.send } ]
    expect: [ { event: 0, verdict: allow } ]
)",
                                           "sample.yaml");
  const CompileResult compiled = CompilePolicy(*loaded.file);
  ASSERT_TRUE(compiled.ok());
  const PolicyTestReport report =
      RunPolicyTests(*loaded.file, compiled.policy, FakeCatalogue());
  ASSERT_FALSE(report.problems.empty());
  EXPECT_THAT(report.problems[0].ToString(),
              HasSubstr("tests[0].events[0]: the policy cannot judge this "
                        "import: sample.yaml:5:"));
  EXPECT_FALSE(report.passed());
}

TEST(PolicyTestsTest, BudgetsOfCallsAndGrowth) {
  const LoadResult loaded = LoadPolicyYaml(R"(api_version: callgate.policy/v1
kind: Policy
metadata: { name: sample }
budgets: { host_calls_per_call: 2, memory_bytes_total: 65536 }
imports: [ { import: net.close, action: allow } ]
tests:
  - name: a
    events:
      - { import: net.close, repeat: 3 }
      - { import: net.close, new_call: true }
      - { event: memory_grow, current: 0, desired: 65536 }
      - { event: memory_grow, current: 65536, desired: 131072 }
    expect:
      - { event: 0, time: 2, verdict: allow }
      - { event: 0, verdict: trap, rules: ["budget:host_calls_per_call"] }
      - { event: 1, verdict: allow }
      - { event: 2, verdict: allow }
      - { event: 3, verdict: deny, rules: ["budget:memory_bytes_total"] }
)",
                                           "sample.yaml");
  const CompileResult compiled = CompilePolicy(*loaded.file);
  ASSERT_TRUE(compiled.ok());
  const PolicyTestReport report =
      RunPolicyTests(*loaded.file, compiled.policy, FakeCatalogue());
  for (const Problem& problem : report.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  for (const Problem& failure : report.Failures("sample.yaml")) {
    ADD_FAILURE() << failure.ToString();
  }
  EXPECT_TRUE(report.passed());
}

}  // namespace
}  // namespace callgate::policy::trial
