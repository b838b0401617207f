#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/compiler/sections.h"
#include "policy/compiler/state_key.h"
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
    std::optional<ImportName> import;
    if (!entry.import().empty()) {
      import = c.ReadImport(file, path, entry.import());
    } else if (entry.when().empty()) {
      c.Report(file, path,
               "import and when are missing; say which calls are counted");
    } else if (entry.id().empty()) {
      c.Report(file, path, "id is missing; a rate limit with `when` has an id");
    }
    Verdict verdict = Verdict::kDeny;
    if (entry.action() != v1::ACTION_UNSPECIFIED &&
        c.CheckAction(file, absl::StrCat(path, ".action"), entry.action(),
                      {v1::ACTION_LOG, v1::ACTION_ALERT, v1::ACTION_THROTTLE,
                       v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                       v1::ACTION_QUARANTINE_MODULE})) {
      verdict = ToVerdict(entry.action());
    }
    RateLimit limit;
    limit.rule = c.ReadRule(file, path, entry, verdict, kErrnoAgain,
                            /*throttle_is_optional=*/true);
    limit.owes = verdict == Verdict::kThrottle && !entry.has_throttle();
    limit.import = import;
    if (!entry.when().empty()) {
      limit.rule.when =
          ConditionAt(file, absl::StrCat(path, ".when"), entry.when());
    }
    if (entry.severity() == v1::SEVERITY_UNSPECIFIED) {
      limit.rule.severity = Severity::kWarning;
    }
    if (!entry.id().empty()) c.CheckId(file, path, entry.id());
    if (!entry.cost().empty()) {
      limit.cost = ConditionAt(file, absl::StrCat(path, ".cost"), entry.cost());
    }
    limit.key = ReadKey(file, absl::StrCat(path, ".key"), entry.key(), c);
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
    } else if (limit.owes && entry.refill_per_second() == 0) {
      c.Report(file, path,
               "throttle is missing; where nothing is filled in there is no "
               "waiting for it, so say how long, as in `throttle: "
               "{base_delay: 10ms}`");
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
    StateShape& state = limit.state;
    state.kind = StateShape::Kind::kBuckets;
    state.scope = ScopeOfKey(limit.key);
    limit.rule.scope = state.scope;
    state.bucket.refill_per_second = entry.refill_per_second();
    state.bucket.burst = static_cast<double>(entry.burst());
    std::optional<uint64_t> max_keys;
    if (entry.has_max_keys()) max_keys = entry.max_keys();
    state.keys_max = KeysMax(file, path, limit.key, state.scope, max_keys, c);
    limit.rule.id = entry.id();
    if (import) {
      if (entry.id().empty()) {
        limit.rule.id = c.default_ids().Next("rate:", *import);
      }
      c.EntryOf(*import);
    }
    c.limit_where().push_back({&file, path});
    c.content().rate_limits.push_back(std::move(limit));
  }
}
}  // namespace callgate::policy
