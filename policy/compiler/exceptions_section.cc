#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "policy/anomaly_rule.h"
#include "policy/call_facts.h"
#include "policy/compiler/rule_parts.h"
#include "policy/compiler/sections.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

// Ids are unique. Null if there is none.
Rule* FindRule(const std::string& id, PolicyContent& content) {
  for (Rule& rule : content.rules) {
    if (rule.id == id) return &rule;
  }
  for (RateLimit& limit : content.rate_limits) {
    if (limit.rule.id == id) return &limit.rule;
  }
  for (TemporalRule& temporal : content.temporal) {
    if (temporal.rule.id == id) return &temporal.rule;
  }
  for (AnomalyRule& anomaly : content.anomaly) {
    if (anomaly.rule.id == id) return &anomaly.rule;
  }
  return nullptr;
}

// The last exception of a rule about anomalies, as a program. Others are made
// for each import that they meet; this one is asked before arguments are read,
// and has the same facts for all.
void AddProgram(const LoadedPolicyFile& file, const v1::RuleException& entry,
                const std::string& path, AnomalyRule& anomaly, Compilation& c) {
  const size_t number = anomaly.rule.exceptions.size() - 1;
  const RuleException& exception = anomaly.rule.exceptions[number];
  bool good = true;
  for (int f = 0; f < entry.fields_size(); ++f) {
    if (IsAnomalyExceptionFact(entry.fields(f))) continue;
    c.Report(file, absl::StrCat(path, ".fields[", f, "]"),
             absl::StrCat(Quote(entry.fields(f)),
                          " is no fact of a rule about anomalies, which is "
                          "judged before arguments are read; it has ",
                          AnomalyExceptionFactNames()));
    good = false;
  }
  if (!good) return;
  static const auto* const schema =
      new expression::Schema(AnomalyExceptionSchema());
  std::string why;
  const std::optional<std::string> source =
      SourceOfException(exception, *schema, &why);
  if (!source) {
    c.Report(file, path, why);
    return;
  }
  expression::CompileOptions options;
  options.type = expression::Type(expression::TypeKind::kBool);
  expression::CompileResult compiled =
      expression::Compile(*source, *schema, options);
  for (const expression::Problem& problem : compiled.problems) {
    c.Report(file, path, problem.ToString(*source));
  }
  if (!compiled.ok()) return;
  anomaly.exceptions.push_back(
      {number, std::make_shared<const expression::Program>(
                   *std::move(compiled.program))});
}

}  // namespace

void CompileExceptions(const LoadedPolicyFile& file, Compilation& c) {
  const absl::Time now = absl::Now();
  for (int i = 0; i < file.proto.exceptions_size(); ++i) {
    const v1::RuleException& entry = file.proto.exceptions(i);
    const std::string path = absl::StrCat("exceptions[", i, "]");
    std::optional<RuleException> exception =
        ReadException(file, entry, path, c.ReporterFor(file));
    if (!exception) continue;
    Rule* const rule = FindRule(entry.rule(), c.content());
    if (rule == nullptr) {
      c.Report(file, absl::StrCat(path, ".rule"),
               absl::StrCat("there is no rule ", Quote(entry.rule()),
                            " under imports, rules, rate_limits, temporal or "
                            "anomaly"));
      continue;
    }
    if (rule->verdict == Verdict::kAllow) {
      c.Report(file, absl::StrCat(path, ".rule"),
               absl::StrCat(Quote(entry.rule()),
                            " allows; exceptions are from rules that "
                            "restrict"));
      continue;
    }
    constexpr absl::Duration kWarnBefore = absl::Hours(14 * 24);
    if (exception->expires <= now) {
      c.Warn(file, absl::StrCat(path, ".expires"),
             "is over, so the exception has no effect");
    } else if (exception->expires - now < kWarnBefore) {
      c.Warn(file, absl::StrCat(path, ".expires"), "is less than 14 days away");
    }
    rule->exceptions.push_back(*std::move(exception));
    for (AnomalyRule& anomaly : c.content().anomaly) {
      if (&anomaly.rule == rule) AddProgram(file, entry, path, anomaly, c);
    }
  }
}
}  // namespace callgate::policy
