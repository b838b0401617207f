// The series of one metric family, never more than a bound.
//
// A series is found or made by its label values. Values that a closed label
// does not have, and open labels' values beyond the cap, become "other"; closed
// labels keep their value then, so there are at most the cap plus one series
// for each combination of closed values. Values are made fit for the page:
// escaped and cut.
//
// Any thread.

#ifndef CALLGATE_SERVER_METRICS_CAPPED_FAMILY_H_
#define CALLGATE_SERVER_METRICS_CAPPED_FAMILY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/metric_family.h"
#include "server/metrics/names.h"

namespace callgate::metrics {

inline constexpr size_t kLabelValueBytesMax = 128;

using LabelValues = std::vector<std::string>;

class FamilyLabels {
 public:
  FamilyLabels(const Family& family, size_t series_max)
      : family_(family), series_max_(series_max) {}

  const Family& family() const { return family_; }

  // The values as the page has them, one for each label. True if a closed label
  // does not have the value that was given.
  bool Normalize(absl::Span<const absl::string_view> given,
                 LabelValues& values) const;
  // Open labels become "other". True if there is an open label.
  bool Fold(LabelValues& values) const;
  bool IsFull(size_t series) const { return series >= series_max_; }

  prometheus::ClientMetric Labelled(const LabelValues& values,
                                    prometheus::ClientMetric metric) const;

 private:
  const Family& family_;
  const size_t series_max_;
};

// `Metric` is prometheus::Counter, Gauge or Histogram.
template <typename Metric>
class CappedFamily {
 public:
  CappedFamily(const Family& family, size_t series_max)
      : labels_(family, series_max) {
    for (const std::vector<const char*>& values : family.initial) {
      Update(std::vector<absl::string_view>(values.begin(), values.end()),
             [](Metric&) {});
    }
  }

  const Family& family() const { return labels_.family(); }

  // Calls `update` with the series, under the lock. True if a value was folded.
  template <typename Updater>
  bool Update(absl::Span<const absl::string_view> given, Updater update) {
    absl::MutexLock lock(&mu_);
    return UpdateLocked(given, update);
  }

  // The same for all of these series, which are the only ones afterwards.
  template <typename Updater>
  bool Replace(const std::vector<std::vector<absl::string_view>>& all,
               Updater update) {
    absl::MutexLock lock(&mu_);
    series_.clear();
    bool folded = false;
    for (const std::vector<absl::string_view>& given : all) {
      folded = UpdateLocked(given, update) || folded;
    }
    return folded;
  }

  size_t size() const {
    absl::MutexLock lock(&mu_);
    return series_.size();
  }

  prometheus::MetricFamily Collect() const {
    prometheus::MetricFamily page;
    page.name = labels_.family().name;
    page.help = labels_.family().help;
    page.type = Metric::metric_type;
    absl::MutexLock lock(&mu_);
    page.metric.reserve(series_.size());
    for (const auto& [values, metric] : series_) {
      page.metric.push_back(labels_.Labelled(values, metric.Collect()));
    }
    return page;
  }

 private:
  using Series = std::map<LabelValues, Metric>;

  template <typename Updater>
  bool UpdateLocked(absl::Span<const absl::string_view> given, Updater update)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    LabelValues values;
    bool folded = labels_.Normalize(given, values);
    auto found = series_.find(values);
    if (found == series_.end()) {
      if (labels_.IsFull(series_.size())) {
        folded = labels_.Fold(values) || folded;
      }
      found = Make(std::move(values));
    }
    update(found->second);
    return folded;
  }

  // The series of these values, made if it is new.
  typename Series::iterator Make(LabelValues values)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if constexpr (std::is_same_v<Metric, prometheus::Histogram>) {
      return series_.try_emplace(std::move(values), labels_.family().buckets)
          .first;
    } else {
      return series_.try_emplace(std::move(values)).first;
    }
  }

  const FamilyLabels labels_;
  mutable absl::Mutex mu_;
  Series series_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate::metrics

#endif  // CALLGATE_SERVER_METRICS_CAPPED_FAMILY_H_
