#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/compiler/sections.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

constexpr uint64_t kBurstMax = 1'000'000'000;
constexpr double kRefillMax = 1e9;

}  // namespace

void CompileRateLimits(const LoadedPolicyFile& file, Compilation& c) {
  for (int i = 0; i < file.proto.rate_limits_size(); ++i) {
    const v1::RateLimit& entry = file.proto.rate_limits(i);
    const std::string path = absl::StrCat("rate_limits[", i, "]");
    // An entry with `when` is refused for that already.
    const std::optional<ImportName> import =
        entry.import().empty() && !entry.when().empty()
            ? std::nullopt
            : c.ReadImport(file, path, entry.import());
    Verdict verdict = Verdict::kDeny;
    if (entry.action() != v1::ACTION_UNSPECIFIED &&
        c.CheckAction(file, absl::StrCat(path, ".action"), entry.action(),
                      {v1::ACTION_LOG, v1::ACTION_ALERT, v1::ACTION_THROTTLE,
                       v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                       v1::ACTION_QUARANTINE_MODULE})) {
      verdict = ToVerdict(entry.action());
    }
    RateLimit limit;
    limit.rule = c.ReadRule(file, path, entry, verdict, kErrnoAgain);
    if (!entry.when().empty()) {
      limit.rule.when =
          ConditionAt(file, absl::StrCat(path, ".when"), entry.when());
    }
    if (!limit.rule.message_parts.empty()) {
      c.Report(file, absl::StrCat(path, ".message"),
               "inserting facts with ${…} is not supported yet for rate "
               "limits; write plain text");
    }
    if (entry.severity() == v1::SEVERITY_UNSPECIFIED) {
      limit.rule.severity = Severity::kWarning;
    }
    if (!entry.id().empty()) c.CheckId(file, path, entry.id());
    for (int k = 0; k < entry.key_size(); ++k) {
      if (entry.key(k) != "store" || k > 0) {
        c.Report(file, absl::StrCat(path, ".key[", k, "]"),
                 absl::StrCat(Quote(entry.key(k)),
                              ": not supported yet; write `key: [store]`"));
      }
    }
    if (!entry.has_refill_per_second()) {
      c.Report(file, path,
               "refill_per_second is missing; say how many calls a second may "
               "go on for ever");
    } else if (entry.refill_per_second() < 0 ||
               entry.refill_per_second() > kRefillMax) {
      c.Report(
          file, absl::StrCat(path, ".refill_per_second"),
          absl::StrCat("is ", entry.refill_per_second(), "; allowed: 0 to ",
                       static_cast<uint64_t>(kRefillMax)));
    }
    if (!entry.has_burst()) {
      c.Report(file, path,
               "burst is missing; say how many calls may come at once");
    } else if (entry.burst() < 1 || entry.burst() > kBurstMax) {
      c.Report(file, absl::StrCat(path, ".burst"),
               absl::StrCat("is ", entry.burst(), "; allowed: 1 to ", kBurstMax,
                            entry.burst() == 0
                                ? " (to refuse every call, list the import "
                                  "with an action)"
                                : ""));
    }
    limit.refill_per_second = entry.refill_per_second();
    limit.burst = static_cast<double>(entry.burst());
    if (!import) continue;
    limit.rule.id = entry.id().empty() ? c.default_ids().Next("rate:", *import)
                                       : entry.id();
    c.EntryOf(*import).rate_limits.push_back(
        static_cast<uint32_t>(c.content().rate_limits.size()));
    c.limit_where().push_back({&file, path});
    c.content().rate_limits.push_back(std::move(limit));
  }
}
}  // namespace callgate::policy
