#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/file/json_schema.h"
#include "policy/mitre_report.h"
#include "policy/trial/policy_tests.h"
#include "server/cli/commands.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/cli/json.h"
#include "server/cli/policy_files.h"
#include "server/cli/policy_text.h"
#include "server/cli/test_report.h"
#include "server/cli/text_table.h"
#include "server/cli/written_file.h"
#include "server/events/escape.h"
#include "server/known_functions.h"

namespace callgate::cli {
namespace {

using events::EscapeText;

std::string JsonStrings(const std::vector<std::string>& strings) {
  std::vector<std::string> values;
  for (const std::string& each : strings) values.push_back(JsonString(each));
  return JsonArray(values);
}

}  // namespace

int PolicyTest(const Arguments& arguments) {
  OrFailure<std::vector<PolicyFile>> files =
      ReadPolicyFiles(arguments.operands());
  if (!files.ok()) return Report(files.failure());
  const WasiCatalogue functions;
  std::vector<TestedFile> tested;
  std::string text;
  int exit_code = kExitOk;
  for (PolicyFile& file : *files) {
    TestedFile result;
    result.path = file.path;
    for (const policy::Problem& warning : file.compiled.warnings) {
      PrintProblem(warning, "warning: ");
    }
    if (file.ok()) {
      result.policy = file.compiled.policy->name();
      result.report = policy::trial::RunPolicyTests(
          *file.file, file.compiled.policy, functions);
      result.problems = result.report.problems;
    } else {
      result.problems = std::move(file.compiled.problems);
    }
    for (const policy::Problem& problem : result.problems) {
      PrintProblem(problem, "");
    }
    if (!result.problems.empty()) {
      exit_code = kExitPolicyRefused;
    } else {
      absl::StrAppend(&text, TestReportText(result));
      if (!result.report.passed() && exit_code == kExitOk) {
        exit_code = kExitFailure;
      }
    }
    tested.push_back(std::move(result));
  }
  if (const std::optional<std::string> junit = arguments.Get("junit")) {
    const absl::Status written = WriteFile(*junit, JUnitXml(tested));
    if (!written.ok()) return Fail(kExitFailure, written.message());
  }
  const int printed = Print(text);
  return exit_code != kExitOk ? exit_code : printed;
}

int PolicySchema(const Arguments&) { return Print(policy::PolicyJsonSchema()); }

int PolicyCoverage(const Arguments& arguments) {
  OrFailure<std::vector<PolicyFile>> files =
      ReadPolicyFiles(arguments.operands());
  if (!files.ok()) return Report(files.failure());
  if (!PrintProblemsOf(*files)) return kExitPolicyRefused;
  std::vector<std::shared_ptr<const policy::Policy>> policies;
  for (const PolicyFile& file : *files) {
    policies.push_back(file.compiled.policy);
  }
  const policy::MitreReport report = policy::ReportMitre(policies);
  if (arguments.Has("json")) {
    JsonObject techniques;
    for (const auto& [technique, rules] : report.techniques) {
      techniques.Raw(technique, JsonStrings(rules));
    }
    JsonObject tactics;
    for (const auto& [tactic, rules] : report.tactics) {
      tactics.Raw(tactic, JsonStrings(rules));
    }
    JsonObject all;
    all.Raw("techniques", techniques.ToString());
    all.Raw("tactics", tactics.ToString());
    all.Raw("without", JsonStrings(report.without));
    return Print(absl::StrCat(all.ToString(), "\n"));
  }
  std::vector<std::vector<std::string>> rows = {{"ATT&CK", "RULES"}};
  const auto add = [&rows](absl::string_view name,
                           const std::vector<std::string>& rules) {
    rows.push_back({EscapeText(name), EscapeText(absl::StrJoin(rules, " "))});
  };
  for (const auto& [technique, rules] : report.techniques) {
    add(technique, rules);
  }
  for (const auto& [tactic, rules] : report.tactics) add(tactic, rules);
  if (!report.without.empty()) add("none", report.without);
  return Print(TextTable(rows));
}

}  // namespace callgate::cli
