#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "policy/compiler/sections.h"
#include "policy/quote.h"
#include "policy/rule_parts.h"

namespace callgate::policy {

void CompileExceptions(const LoadedPolicyFile& file, Compilation& c) {
  const absl::Time now = absl::Now();
  for (int i = 0; i < file.proto.exceptions_size(); ++i) {
    const v1::RuleException& entry = file.proto.exceptions(i);
    const std::string path = absl::StrCat("exceptions[", i, "]");
    std::optional<RuleException> exception =
        ReadException(file, entry, path, c.ReporterFor(file));
    if (!exception) continue;
    const auto rule = std::find_if(
        c.content().rules.begin(), c.content().rules.end(),
        [&](const Rule& known) { return known.id == entry.rule(); });
    if (rule == c.content().rules.end()) {
      c.Report(file, absl::StrCat(path, ".rule"),
               absl::StrCat("there is no rule ", Quote(entry.rule()),
                            " under imports or rules"));
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
