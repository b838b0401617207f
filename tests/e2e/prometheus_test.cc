// Debian's own Prometheus scrapes the real daemon, loads the rules, evaluates
// everything that the dashboard draws and finds a denial.

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <stdlib.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/http_get.h"
#include "tests/e2e/taken_port.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::google::protobuf::Struct;
using ::google::protobuf::Value;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPrometheus[] = "/usr/bin/prometheus";
constexpr char kPromtool[] = "/usr/bin/promtool";

std::string Deployed(absl::string_view path) {
  return absl::StrCat(getenv("TEST_SRCDIR"), "/", getenv("TEST_WORKSPACE"),
                      "/deploy/", path);
}

Struct ParseJson(const std::string& text) {
  Struct json;
  const auto parsed = google::protobuf::util::JsonStringToMessage(text, &json);
  EXPECT_TRUE(parsed.ok()) << parsed.ToString() << "\n" << text;
  return json;
}

// "a.b.c" of a JSON object.
Value At(const Struct& json, const std::vector<std::string>& path) {
  Value value;
  *value.mutable_struct_value() = json;
  for (const std::string& key : path) {
    const auto found = value.struct_value().fields().find(key);
    if (found == value.struct_value().fields().end()) return Value();
    value = Value(found->second);
  }
  return value;
}

class PrometheusTest : public WithDaemon {
 protected:
  static void SetUpTestSuite() {
    WithDaemon::SetUpTestSuite();
    // Something to see: a return, a denial, a refusal, a policy file.
    const std::string random = ModuleFile(ExitsWithErrnoOfRandomGet());
    ASSERT_THAT(Client({"run", random, "--policy", "open"}), EndsWithCode(0));
    ASSERT_THAT(Client({"run", random, "--policy", "no-random"}),
                EndsWithCode(63));
    ASSERT_THAT(Client({"module", "push", scratch().Write("bad.wasm", "bad")}),
                EndsWithCode(65));
  }

  // A Prometheus with the shipped configuration, but faster and pointed at this
  // daemon. Its own address in `address`.
  static std::unique_ptr<Process> StartPrometheus(std::string* address) {
    auto config = ReadWholeFile(Deployed("prometheus/prometheus.yml"));
    EXPECT_TRUE(config.ok()) << config.status();
    EXPECT_THAT(*config, HasSubstr("127.0.0.1:9464"));
    scratch().Write(
        "prometheus/prometheus.yml",
        absl::StrReplaceAll(*config, {{"127.0.0.1:9464", daemon().metrics()},
                                      {"interval: 15s", "interval: 1s"}}));
    const auto rules = ReadWholeFile(Deployed("prometheus/callgate.rules.yml"));
    EXPECT_TRUE(rules.ok()) << rules.status();
    scratch().Write(
        "prometheus/callgate.rules.yml",
        absl::StrReplaceAll(*rules, {{"interval: 30s", "interval: 1s"}}));
    // Port 0 is taken literally in its log, so the test picks one; somebody may
    // take it in between, hence the tries.
    for (int attempt = 0; attempt < 5; ++attempt) {
      *address = TakenPort().address();
      Command command;
      command.argv = {kPrometheus,
                      absl::StrCat("--config.file=",
                                   scratch().Path("prometheus/prometheus.yml")),
                      absl::StrCat("--storage.tsdb.path=",
                                   scratch().Path(absl::StrCat(
                                       "prometheus/tsdb", attempt))),
                      absl::StrCat("--web.listen-address=", *address)};
      auto process = Process::Start(command);
      EXPECT_TRUE(process.ok()) << process.status();
      const auto ready = (*process)->WaitForError(
          "Server is ready to receive web requests", kPatience);
      if (ready.ok()) return *std::move(process);
      ADD_FAILURE() << ready.status();
    }
    return nullptr;
  }
};

TEST_F(PrometheusTest, PromtoolAcceptsThePage) {
  const auto page = daemon().MetricsPage();
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(*page, HasSubstr("callgate_decisions_total"));
  const Finished check =
      RunToEnd({{kPromtool, "check", "metrics"}, {}, *page, false});
  EXPECT_THAT(check, EndsWithCode(0));
  // It also prints advice without failing; there shall be none of ours.
  EXPECT_THAT(check.out + check.err, Not(HasSubstr("callgate_")));
}

TEST_F(PrometheusTest, PromtoolAcceptsTheRulesAndTheirTests) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{
           {kPromtool, "check", "config",
            Deployed("prometheus/prometheus.yml")},
           {kPromtool, "check", "rules",
            Deployed("prometheus/callgate.rules.yml")},
           {kPromtool, "test", "rules",
            Deployed("prometheus/callgate.rules_test.yml")}}) {
    EXPECT_THAT(RunToEnd({arguments, {}, "", false}), EndsWithCode(0));
  }
}

TEST_F(PrometheusTest, ScrapesEvaluatesAndFindsADenial) {
  std::string address;
  const auto prometheus = StartPrometheus(&address);
  ASSERT_NE(prometheus, nullptr);
  const auto query = [&](const std::string& expression) {
    const auto answer = HttpGet(
        address,
        absl::StrCat("/api/v1/query?query=", PercentEncode(expression)));
    EXPECT_TRUE(answer.ok()) << expression << ": " << answer.status();
    return answer.ok() ? ParseJson(*answer) : Struct();
  };
  // The value of the only series, or -1.
  const auto value = [&](const std::string& expression) {
    const Value result = At(query(expression), {"data", "result"});
    if (result.list_value().values_size() != 1) return -1.0;
    const Value pair =
        At(result.list_value().values(0).struct_value(), {"value"});
    return atof(pair.list_value().values(1).string_value().c_str());
  };

  ASSERT_TRUE(Eventually(kPatience,
                         [&] { return value("up{job=\"callgate\"}") == 1; }));
  EXPECT_EQ(value("callgate_decisions_total{verdict=\"deny\"}"), 1);
  EXPECT_EQ(value("callgate_rule_matches_total{rule=\"dice-are-out\"}"), 1);
  EXPECT_EQ(value("sum(callgate_module_admissions_total{result=\"refused\"})"),
            1);

  // A rate needs two scrapes; the third is for the slow.
  ASSERT_TRUE(Eventually(kPatience, [&] {
    return value("count_over_time(up{job=\"callgate\"}[1h])") >= 3;
  }));

  // Every expression of the dashboard, with its variables filled in as Grafana
  // would. An error of syntax or type is an HTTP error.
  const auto text = ReadWholeFile(Deployed("grafana/callgate.json"));
  ASSERT_TRUE(text.ok()) << text.status();
  const Struct dashboard = ParseJson(*text);
  int expressions = 0;
  int with_data = 0;
  const Value panels = At(dashboard, {"panels"});
  for (const Value& panel : panels.list_value().values()) {
    const Value targets = At(panel.struct_value(), {"targets"});
    for (const Value& target : targets.list_value().values()) {
      const std::string expression = absl::StrReplaceAll(
          At(target.struct_value(), {"expr"}).string_value(),
          {{"$instance", ".*"},
           {"$__rate_interval", "1m"},
           {"$__range", "1h"}});
      EXPECT_THAT(expression, Not(HasSubstr("$")));
      const Struct answer = query(expression);
      EXPECT_EQ(At(answer, {"status"}).string_value(), "success") << expression;
      ++expressions;
      if (At(answer, {"data", "result"}).list_value().values_size() > 0) {
        ++with_data;
      } else {
        // Told, not failed: a quiet daemon has nothing to say on some.
        std::cout << "no data yet: " << expression << "\n";
      }
    }
  }
  EXPECT_GT(expressions, 20);
  EXPECT_GT(with_data, expressions / 2);

  // All rules are loaded and healthy.
  const auto healthy_rules = [&] {
    const auto answer = HttpGet(address, "/api/v1/rules");
    EXPECT_TRUE(answer.ok()) << answer.status();
    int healthy = 0;
    const Struct rules = ParseJson(answer.ok() ? *answer : "{}");
    // Named, since a range-for keeps only the outermost temporary alive.
    const Value groups = At(rules, {"data", "groups"});
    for (const Value& group : groups.list_value().values()) {
      const Value members = At(group.struct_value(), {"rules"});
      for (const Value& rule : members.list_value().values()) {
        const std::string health =
            At(rule.struct_value(), {"health"}).string_value();
        EXPECT_NE(health, "err")
            << At(rule.struct_value(), {"name"}).string_value() << ": "
            << At(rule.struct_value(), {"lastError"}).string_value();
        if (health == "ok") ++healthy;
      }
    }
    return healthy;
  };
  const auto rules = ReadWholeFile(Deployed("prometheus/callgate.rules.yml"));
  ASSERT_TRUE(rules.ok());
  int wanted = 0;
  for (size_t at = rules->find("expr:"); at != std::string::npos;
       at = rules->find("expr:", at + 1)) {
    ++wanted;
  }
  EXPECT_TRUE(
      Eventually(absl::Seconds(90), [&] { return healthy_rules() == wanted; }))
      << healthy_rules() << " of " << wanted << " rules";
}

}  // namespace
}  // namespace callgate::e2e
