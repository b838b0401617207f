#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/compiler/sections.h"
#include "policy/suppression_spec.h"

namespace callgate::policy {
namespace {

constexpr uint64_t kBurstMax = 1'000'000;
constexpr int64_t kPeriodSecondsMin = 1;
constexpr int64_t kPeriodSecondsMax = 86'400;

std::string AllKeys() {
  std::vector<absl::string_view> names;
  for (int i = 0; i < kSuppressionKeyCount; ++i) {
    names.push_back(SuppressionKeyName(static_cast<SuppressionKey>(i)));
  }
  return absl::StrJoin(names, ", ");
}

}  // namespace

void CompileSuppression(Compilation& c) {
  if (!c.root().proto.defaults().has_suppression()) return;
  const v1::Suppression& entry = c.root().proto.defaults().suppression();
  const std::string path = "defaults.suppression";
  SuppressionSpec spec;
  spec.burst = entry.burst();
  if (spec.burst < 1 || spec.burst > kBurstMax) {
    c.Report(c.root(), absl::StrCat(path, ".burst"),
             absl::StrCat("is ", spec.burst, "; allowed: 1 to ", kBurstMax));
  }
  const auto& period = entry.period();
  if (!entry.has_period()) {
    c.Report(c.root(), path,
             "period is missing; say for how long events are folded");
  } else if (period.seconds() < kPeriodSecondsMin ||
             period.seconds() > kPeriodSecondsMax) {
    c.Report(c.root(), absl::StrCat(path, ".period"),
             "must be 1s at least and 24h at most");
  }
  spec.period =
      absl::Seconds(period.seconds()) + absl::Nanoseconds(period.nanos());
  for (int i = 0; i < entry.group_by_size(); ++i) {
    const std::string at = absl::StrCat(path, ".group_by[", i, "]");
    const auto key = SuppressionKeyFromName(entry.group_by(i));
    if (!key) {
      c.Report(c.root(), at,
               absl::StrCat(Quote(entry.group_by(i)),
                            " does not group events; allowed: ", AllKeys()));
      continue;
    }
    if (std::find(spec.group_by.begin(), spec.group_by.end(), *key) !=
        spec.group_by.end()) {
      c.Report(c.root(), at,
               absl::StrCat(Quote(entry.group_by(i)), " is there already"));
      continue;
    }
    spec.group_by.push_back(*key);
  }
  if (entry.group_by().empty()) spec.group_by = {SuppressionKey::kRule};
  c.content().suppression = std::move(spec);
}

}  // namespace callgate::policy
