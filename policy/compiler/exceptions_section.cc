#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
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
  return nullptr;
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
                            " under imports, rules, rate_limits or temporal"));
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
  }
}
}  // namespace callgate::policy
