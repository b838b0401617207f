#include "server/metrics/capped_family.h"

#include <algorithm>

#include "runtime/check.h"
#include "server/events/escape.h"

namespace callgate::metrics {

bool FamilyLabels::Normalize(absl::Span<const absl::string_view> given,
                             LabelValues& values) const {
  CALLGATE_CHECK(given.size() == family_.labels.size(),
                 "a family's series have all of its labels");
  bool folded = false;
  values.reserve(given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    const std::vector<const char*>& allowed = family_.labels[i].values;
    if (allowed.empty()) {
      values.push_back(events::EscapeText(given[i], kLabelValueBytesMax));
    } else if (given[i] == kOther || std::find(allowed.begin(), allowed.end(),
                                               given[i]) != allowed.end()) {
      values.emplace_back(given[i]);
    } else {
      values.emplace_back(kOther);
      folded = true;
    }
  }
  return folded;
}

bool FamilyLabels::Fold(LabelValues& values) const {
  bool folded = false;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!family_.labels[i].values.empty()) continue;
    values[i] = kOther;
    folded = true;
  }
  return folded;
}

prometheus::ClientMetric FamilyLabels::Labelled(
    const LabelValues& values, prometheus::ClientMetric metric) const {
  metric.label.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    prometheus::ClientMetric::Label& label = metric.label.emplace_back();
    label.name = family_.labels[i].name;
    label.value = values[i];
  }
  return metric;
}

}  // namespace callgate::metrics
