#include "server/metrics/metrics.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "re2/re2.h"
#include "server/metrics/names.h"

namespace callgate::metrics {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

MetricsOptions Options() {
  MetricsOptions options;
  options.version = "0.1";
  options.revision = "abc";
  options.start_time = absl::FromUnixSeconds(1'700'000'000);
  options.known_imports = {"wasi_snapshot_preview1.fd_write"};
  return options;
}

// Says everything there is to say, once.
void TellAll(Metrics& metrics) {
  metrics.CountDecisions("acme", "deny", "enforce", 2);
  metrics.ObserveDecision(absl::Nanoseconds(70));
  metrics.CountRuleMatch(
      {"baseline", "exfil", "critical", "deny", "enforce", "acme"}, 1);
  metrics.CountRateLimited("baseline", "send-rate", 3);
  metrics.CountBudgetExceeded("acme", "fuel_per_call");
  metrics.CountConditionsFailed("acme", 2);
  metrics.CountHostCalls("wasi_snapshot_preview1.fd_write", "ran", 10);
  metrics.CountHostCalls("evil.import", "answered", 4);
  metrics.CountFuel("acme", "guest", 1'000'000);
  metrics.CountInvocation("acme", "returned", absl::Milliseconds(3));
  metrics.SetStores("running", 2);
  metrics.SetStoreMemory("acme", 65'536);
  metrics.CountStoreTermination("policy_killed");
  metrics.CountAdmission("refused", "limit");
  metrics.ObserveScan(absl::Microseconds(50));
  metrics.ObserveCompile(absl::Milliseconds(20));
  metrics.SetModules("stored", 7);
  metrics.SetPolicies({{"baseline", std::string(64, 'a'), "enforce"}});
  metrics.CountPolicyReload(true, absl::FromUnixSeconds(1'700'000'001));
  metrics.CountPolicyRollback("operator");
  metrics.SetPolicyExceptions({{"baseline", 1, 2}});
  metrics.CountRuleTime("baseline", "exfil", absl::Milliseconds(1500));
  metrics.SetRuleStates({{"baseline", "exfil", 4096}});
  metrics.CountRuleEvictions("baseline", "exfil", 3);
  metrics.CountPolicyStoreUpdate("replaced");
  metrics.CountInternalFault("probes_not_placed", 2);
  metrics.CountEventEmitted("decision");
  metrics.CountEventsDelivered("watch", 5);
  metrics.CountEventsDropped("watch", "queue_full", 6);
  metrics.SetEventSink("alert_file", 3, 100, absl::Seconds(2), 1);
  metrics.CountRpc("callgate.v1.StoreService", "Invoke", "OK",
                   absl::Milliseconds(4));
  metrics.ObserveStorage("sqlite", "put_module", absl::Milliseconds(1), true);
}

// The page with what differs from run to run and build to build left out.
std::string Steady(std::string page) {
  RE2::GlobalReplace(&page, R"((?m)^(process_[a-z_]+) \S+$)", R"(\1 N)");
  RE2::GlobalReplace(&page, R"(compiler="[^"]*")", R"(compiler="C")");
  RE2::GlobalReplace(&page, R"(sanitizer="[^"]*")", R"(sanitizer="S")");
  return page;
}

// promtool's opinion of a page; empty if it has none against it.
std::string Lint(const std::string& page) {
  const std::string path = testing::TempDir() + "/page.txt";
  std::ofstream(path) << page;
  FILE* const promtool = popen(
      absl::StrCat("/usr/bin/promtool check metrics <", path, " 2>&1").c_str(),
      "r");
  std::string said;
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof buffer, promtool)) {
    said.append(buffer, got);
  }
  const int ended = pclose(promtool);
  return ended == 0 ? said : absl::StrCat("exit code ", ended, ": ", said);
}

TEST(MetricsTest, BeginsWithThePageThatDashboardsExpect) {
  const std::string path = "server/metrics/testdata/empty_page.txt";
  std::stringstream expected;
  expected << std::ifstream(path).rdbuf();
  const std::string actual = Steady(Metrics(Options()).Text());
  if (const char* const outputs = getenv("TEST_UNDECLARED_OUTPUTS_DIR")) {
    std::ofstream(absl::StrCat(outputs, "/empty_page.txt")) << actual;
  }
  EXPECT_EQ(actual, expected.str())
      << "If the change is meant, it changes an interface: update " << path;
}

TEST(MetricsTest, ShowsEveryFamilyOnceTold) {
  Metrics metrics(Options());
  TellAll(metrics);
  // A family that overflows.
  metrics.CountStoreTermination("boredom");
  const std::string page = metrics.Text();
  size_t at = 0;
  for (const Family* family : FamiliesInOrder()) {
    const size_t found = page.find(absl::StrCat("# TYPE ", family->name, " "));
    ASSERT_NE(found, std::string::npos) << family->name;
    EXPECT_GT(found, at) << family->name << " is out of order";
    at = found;
  }
}

struct LineRow {
  std::string name;
  std::string line;
};
class Lines : public testing::TestWithParam<LineRow> {};

TEST_P(Lines, AreOnThePage) {
  Metrics metrics(Options());
  TellAll(metrics);
  const std::vector<std::string> lines = absl::StrSplit(metrics.Text(), '\n');
  EXPECT_THAT(lines, testing::Contains(GetParam().line));
}

INSTANTIATE_TEST_SUITE_P(
    Told, Lines,
    testing::ValuesIn<LineRow>({
        {"start", "callgate_start_time_seconds 1700000000"},
        {"decisions",
         R"(callgate_decisions_total{tenant="acme",verdict="deny",mode="enforce"} 2)"},
        {"duration_below",
         R"(callgate_decision_duration_seconds_bucket{le="5e-08"} 0)"},
        {"duration_within",
         R"(callgate_decision_duration_seconds_bucket{le="1e-07"} 1)"},
        {"rule",
         R"(callgate_rule_matches_total{policy="baseline",rule="exfil",severity="critical",verdict="deny",mode="enforce",tenant="acme"} 1)"},
        {"rate",
         R"(callgate_rate_limited_total{policy="baseline",rule="send-rate"} 3)"},
        {"budget",
         R"(callgate_budget_exceeded_total{tenant="acme",budget="fuel_per_call"} 1)"},
        {"failed_conditions",
         R"(callgate_conditions_failed_total{tenant="acme"} 2)"},
        {"known_import",
         R"(callgate_host_calls_total{import="wasi_snapshot_preview1.fd_write",outcome="ran"} 10)"},
        {"unknown_import",
         R"(callgate_host_calls_total{import="other",outcome="answered"} 4)"},
        {"fuel",
         R"(callgate_fuel_consumed_total{tenant="acme",kind="guest"} 1000000)"},
        {"invocation",
         R"(callgate_invocations_total{tenant="acme",outcome="returned"} 1)"},
        {"invocation_time",
         R"(callgate_invocation_duration_seconds_sum{tenant="acme",outcome="returned"} 0.003)"},
        {"stores", R"(callgate_stores{state="running"} 2)"},
        {"no_stores", R"(callgate_stores{state="idle"} 0)"},
        {"memory", R"(callgate_store_memory_bytes{tenant="acme"} 65536)"},
        {"termination",
         R"(callgate_store_terminations_total{reason="policy_killed"} 1)"},
        {"admission",
         R"(callgate_module_admissions_total{result="refused",reason="limit"} 1)"},
        {"modules", R"(callgate_modules{state="stored"} 7)"},
        {"policy",
         R"(callgate_policy_info{policy="baseline",version="aaaaaaaaaaaa",mode="enforce"} 1)"},
        {"reload", "callgate_policy_last_reload_success 1"},
        {"expired",
         R"(callgate_policy_exceptions_expired{policy="baseline"} 1)"},
        {"expiring",
         R"(callgate_policy_exceptions_expiring{policy="baseline"} 2)"},
        {"rule_time",
         R"(callgate_rule_eval_seconds_total{policy="baseline",rule="exfil"} 1.5)"},
        {"rule_state",
         R"(callgate_rule_state_bytes{policy="baseline",rule="exfil"} 4096)"},
        {"rule_evictions",
         R"(callgate_rule_state_evictions_total{policy="baseline",rule="exfil"} 3)"},
        {"store_update",
         R"(callgate_policy_store_updates_total{result="replaced"} 1)"},
        {"internal_fault",
         R"(callgate_internal_faults_total{fault="probes_not_placed"} 2)"},
        {"rollback", R"(callgate_policy_rollbacks_total{reason="operator"} 1)"},
        {"reload_time",
         "callgate_policy_last_reload_timestamp_seconds 1700000001"},
        {"dropped",
         R"(callgate_events_dropped_total{sink="watch",reason="queue_full"} 6)"},
        {"lag", R"(callgate_event_lag_seconds{sink="alert_file"} 2)"},
        {"rpc",
         R"(callgate_grpc_server_handled_total{service="callgate.v1.StoreService",method="Invoke",code="OK"} 1)"},
        {"storage_error",
         R"(callgate_storage_errors_total{engine="sqlite",op="put_module"} 1)"},
    }),
    [](const auto& param) { return param.param.name; });

TEST(MetricsTest, KeepsModulesWordsOffThePage) {
  MetricsOptions options = Options();
  options.series_max = 50;
  Metrics metrics(options);
  for (int i = 0; i < 100'000; ++i) {
    metrics.CountHostCalls(absl::StrCat("evil", i, ".name"), "ran", 1);
  }
  const std::string page = metrics.Text();
  EXPECT_THAT(page, Not(HasSubstr("evil")));
  EXPECT_THAT(
      page,
      HasSubstr(
          R"(callgate_host_calls_total{import="other",outcome="ran"} 100000)"));
  // It is not an overflow: nobody has lost anything that was configured.
  EXPECT_THAT(page, Not(HasSubstr("callgate_metrics_series_overflow_total{")));
}

TEST(MetricsTest, CapsSeriesAndCountsWhatIsOver) {
  MetricsOptions options = Options();
  options.series_max = 50;
  Metrics metrics(options);
  for (int i = 0; i < 1'000; ++i) {
    metrics.CountDecisions(absl::StrCat("tenant", i), "deny", "enforce", 1);
  }
  const std::string page = metrics.Text();
  EXPECT_THAT(
      page,
      AllOf(
          HasSubstr(
              R"(callgate_decisions_total{tenant="other",verdict="deny",mode="enforce"} 950)"),
          HasSubstr(
              R"(callgate_metrics_series_overflow_total{family="callgate_decisions_total"} 950)")));
  double series = 0;
  ASSERT_TRUE(RE2::PartialMatch(page, R"((?m)^callgate_metrics_series (\d+)$)",
                                &series));
  EXPECT_LT(series, 200);
}

TEST(MetricsTest, ForgetsPoliciesThatAreGone) {
  Metrics metrics(Options());
  metrics.SetPolicies(
      {{"a", "111111111111111", "enforce"}, {"b", "222222222222222", "audit"}});
  metrics.SetPolicies({{"b", "333333333333333", "audit"}});
  const std::string page = metrics.Text();
  EXPECT_THAT(page, Not(HasSubstr("111111")));
  EXPECT_THAT(page, Not(HasSubstr("222222")));
  EXPECT_THAT(
      page,
      HasSubstr(
          R"(callgate_policy_info{policy="b",version="333333333333",mode="audit"} 1)"));
}

TEST(MetricsTest, ShowsAFailedReload) {
  Metrics metrics(Options());
  metrics.CountPolicyReload(true, absl::FromUnixSeconds(1));
  metrics.CountPolicyReload(false, absl::FromUnixSeconds(2));
  EXPECT_THAT(
      metrics.Text(),
      AllOf(HasSubstr("callgate_policy_last_reload_success 0\n"),
            HasSubstr("callgate_policy_last_reload_timestamp_seconds 2\n"),
            HasSubstr(R"(callgate_policy_reloads_total{result="success"} 1)"),
            HasSubstr(R"(callgate_policy_reloads_total{result="failure"} 1)")));
}

TEST(MetricsTest, AsksForFreshGaugesAtEachScrape) {
  Metrics metrics(Options());
  uint64_t stores = 0;
  metrics.BeforeScrape([&] { metrics.SetStores("idle", ++stores); });
  metrics.Text();
  EXPECT_THAT(metrics.Text(), HasSubstr(R"(callgate_stores{state="idle"} 2)"));
}

TEST(MetricsTest, PassesPromtool) {
  if (access("/usr/bin/promtool", X_OK) != 0) {
    GTEST_SKIP() << "skipped: no promtool; install Debian's prometheus";
  }
  Metrics metrics(Options());
  EXPECT_EQ(Lint(metrics.Text()), "");
  TellAll(metrics);
  metrics.CountDecisions("odd \"tenant\"\n\xff", "deny", "enforce", 1);
  EXPECT_EQ(Lint(metrics.Text()), "");
  // It does say something about a page that is wrong.
  EXPECT_THAT(Lint("# TYPE a counter\na 1\n"), HasSubstr("_total"));
}

}  // namespace
}  // namespace callgate::metrics
