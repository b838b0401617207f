#include "server/metrics/metrics.h"

#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "prometheus/text_serializer.h"
#include "server/metrics/capped_family.h"
#include "server/metrics/names.h"
#include "server/metrics/process_facts.h"

namespace callgate::metrics {
namespace {

using Counters = CappedFamily<prometheus::Counter>;
using Gauges = CappedFamily<prometheus::Gauge>;
using Histograms = CappedFamily<prometheus::Histogram>;

constexpr size_t kVersionDigits = 12;

#if defined(__clang__)
constexpr char kCompiler[] = "clang " __clang_version__;
#else
constexpr char kCompiler[] = "gcc " __VERSION__;
#endif

#if defined(__SANITIZE_ADDRESS__)
constexpr char kSanitizer[] = "address";
#elif defined(__SANITIZE_THREAD__)
constexpr char kSanitizer[] = "thread";
#else
constexpr char kSanitizer[] = "none";
#endif

double UnixSeconds(absl::Time time) {
  return absl::ToDoubleSeconds(time - absl::UnixEpoch());
}

// The series of every family, in the order of FamiliesInOrder.
struct AllSeries {
  explicit AllSeries(size_t cap) : max(cap) {}

  const size_t max;
  const Families& f = AllFamilies();

  Gauges build_info{f.build_info, max};
  Gauges start_time_seconds{f.start_time_seconds, max};

  Counters decisions{f.decisions_total, max};
  Histograms decision_duration{f.decision_duration_seconds, max};
  Counters rule_matches{f.rule_matches_total, max};
  Counters rate_limited{f.rate_limited_total, max};
  Counters rule_eval_seconds{f.rule_eval_seconds_total, max};
  Gauges rule_state_bytes{f.rule_state_bytes, max};
  Counters rule_state_evictions{f.rule_state_evictions_total, max};
  Counters conditions_failed{f.conditions_failed_total, max};
  Counters budget_exceeded{f.budget_exceeded_total, max};

  Counters host_calls{f.host_calls_total, max};
  Counters fuel_consumed{f.fuel_consumed_total, max};
  Counters invocations{f.invocations_total, max};
  Histograms invocation_duration{f.invocation_duration_seconds, max};

  Gauges stores{f.stores, max};
  Gauges store_memory_bytes{f.store_memory_bytes, max};
  Counters store_terminations{f.store_terminations_total, max};

  Counters module_admissions{f.module_admissions_total, max};
  Histograms module_scan_duration{f.module_scan_duration_seconds, max};
  Histograms module_compile_duration{f.module_compile_duration_seconds, max};
  Gauges modules{f.modules, max};
  Counters compilations{f.compilations_total, max};
  Counters compile_seconds{f.compile_seconds_total, max};
  Counters modules_optimised{f.modules_optimised_total, max};
  Counters code_cache_lookups{f.code_cache_lookups_total, max};
  Gauges code_cache_bytes{f.code_cache_bytes, max};

  Gauges policy_info{f.policy_info, max};
  Gauges policy_last_reload_success{f.policy_last_reload_success, max};
  Gauges policy_last_reload_timestamp{f.policy_last_reload_timestamp_seconds,
                                      max};
  Counters policy_reloads{f.policy_reloads_total, max};
  Counters policy_rollbacks{f.policy_rollbacks_total, max};
  Gauges policy_exceptions_expired{f.policy_exceptions_expired, max};
  Gauges policy_exceptions_expiring{f.policy_exceptions_expiring, max};
  Counters policy_store_updates{f.policy_store_updates_total, max};
  Counters internal_faults{f.internal_faults_total, max};

  Counters events_emitted{f.events_emitted_total, max};
  Counters events_delivered{f.events_delivered_total, max};
  Counters events_dropped{f.events_dropped_total, max};
  Gauges event_queue_depth{f.event_queue_depth, max};
  Gauges event_queue_capacity{f.event_queue_capacity, max};
  Gauges event_lag{f.event_lag_seconds, max};
  Gauges event_subscribers{f.event_subscribers, max};

  Counters grpc_handled{f.grpc_server_handled_total, max};
  Histograms grpc_handling{f.grpc_server_handling_seconds, max};

  Counters storage_errors{f.storage_errors_total, max};
  Histograms storage_latency{f.storage_latency_seconds, max};

  Gauges metrics_series{f.metrics_series, max};
  Counters metrics_series_overflow{f.metrics_series_overflow_total, max};

  Counters process_cpu_seconds{f.process_cpu_seconds_total, max};
  Gauges process_resident_memory{f.process_resident_memory_bytes, max};
  Gauges process_virtual_memory{f.process_virtual_memory_bytes, max};
  Gauges process_open_fds{f.process_open_fds, max};
  Gauges process_max_fds{f.process_max_fds, max};
  Gauges process_start_time{f.process_start_time_seconds, max};

  template <typename Visitor>
  void VisitAll(Visitor visit) const {
    visit(build_info);
    visit(start_time_seconds);
    visit(decisions);
    visit(decision_duration);
    visit(rule_matches);
    visit(rate_limited);
    visit(rule_eval_seconds);
    visit(rule_state_bytes);
    visit(rule_state_evictions);
    visit(conditions_failed);
    visit(budget_exceeded);
    visit(host_calls);
    visit(fuel_consumed);
    visit(invocations);
    visit(invocation_duration);
    visit(stores);
    visit(store_memory_bytes);
    visit(store_terminations);
    visit(module_admissions);
    visit(module_scan_duration);
    visit(module_compile_duration);
    visit(modules);
    visit(compilations);
    visit(compile_seconds);
    visit(modules_optimised);
    visit(code_cache_lookups);
    visit(code_cache_bytes);
    visit(policy_info);
    visit(policy_last_reload_success);
    visit(policy_last_reload_timestamp);
    visit(policy_reloads);
    visit(policy_rollbacks);
    visit(policy_exceptions_expired);
    visit(policy_exceptions_expiring);
    visit(policy_store_updates);
    visit(internal_faults);
    visit(events_emitted);
    visit(events_delivered);
    visit(events_dropped);
    visit(event_queue_depth);
    visit(event_queue_capacity);
    visit(event_lag);
    visit(event_subscribers);
    visit(grpc_handled);
    visit(grpc_handling);
    visit(storage_errors);
    visit(storage_latency);
    visit(metrics_series);
    visit(metrics_series_overflow);
    visit(process_cpu_seconds);
    visit(process_resident_memory);
    visit(process_virtual_memory);
    visit(process_open_fds);
    visit(process_max_fds);
    visit(process_start_time);
  }
};

}  // namespace

// The page, and whatever has to happen for it to be true. Lives as long as
// anybody serves it.
class Metrics::Page final : public prometheus::Collectable {
 public:
  explicit Page(const MetricsOptions& options)
      : known_imports_(options.known_imports.begin(),
                       options.known_imports.end()),
        series_(std::make_unique<AllSeries>(options.series_max)) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    // One scrape at a time, so that refreshers need not expect two.
    absl::MutexLock lock(&collecting_);
    for (const std::function<void()>& refresh : refreshers_) refresh();
    RefreshOwn();
    std::vector<prometheus::MetricFamily> page;
    series_->VisitAll([&page](const auto& family) {
      prometheus::MetricFamily collected = family.Collect();
      // A family without series has nothing to say yet.
      if (!collected.metric.empty()) page.push_back(std::move(collected));
    });
    return page;
  }

  void BeforeScrape(std::function<void()> refresh) {
    absl::MutexLock lock(&collecting_);
    refreshers_.push_back(std::move(refresh));
  }

  AllSeries& series() { return *series_; }
  bool IsKnownImport(absl::string_view import) const {
    return known_imports_.count(std::string(import)) != 0;
  }

  using Values = absl::Span<const absl::string_view>;

  void Add(Counters& family, Values labels, double amount) {
    CountIfFolded(family,
                  family.Update(labels, [amount](prometheus::Counter& counter) {
                    counter.Increment(amount);
                  }));
  }
  void Set(Gauges& family, Values labels, double value) const {
    CountIfFolded(family,
                  family.Update(labels, [value](prometheus::Gauge& gauge) {
                    gauge.Set(value);
                  }));
  }
  // The family has these series afterwards and no other; what is folded
  // together is added up.
  using Row = std::pair<std::vector<absl::string_view>, double>;
  void ReplaceAll(Gauges& family, const std::vector<Row>& rows) {
    std::vector<std::vector<absl::string_view>> labels;
    labels.reserve(rows.size());
    for (const Row& row : rows) labels.push_back(row.first);
    size_t next = 0;
    CountIfFolded(family, family.Replace(labels, [&](prometheus::Gauge& gauge) {
      gauge.Increment(rows[next++].second);
    }));
  }
  // The family has these series afterwards and no other.
  void Replace(Gauges& family,
               const std::vector<std::vector<absl::string_view>>& all,
               double value) {
    CountIfFolded(family,
                  family.Replace(all, [value](prometheus::Gauge& gauge) {
                    gauge.Set(value);
                  }));
  }
  void Observe(Histograms& family, Values labels, absl::Duration took) {
    const double seconds = absl::ToDoubleSeconds(took);
    CountIfFolded(
        family,
        family.Update(labels, [seconds](prometheus::Histogram& histogram) {
          histogram.Observe(seconds);
        }));
  }

 private:
  template <typename AnyFamily>
  void CountIfFolded(const AnyFamily& family, bool folded) const {
    if (!folded) return;
    series_->metrics_series_overflow.Update(
        {family.family().name},
        [](prometheus::Counter& counter) { counter.Increment(); });
  }

  void RefreshOwn() const {
    const ProcessFacts process = ReadProcessFacts();
    series_->process_cpu_seconds.Update(
        {}, [&process](prometheus::Counter& counter) {
          // Nothing if the system says less than before: counters only grow.
          counter.Increment(process.cpu_seconds - counter.Value());
        });
    Set(series_->process_resident_memory, {}, process.resident_bytes);
    Set(series_->process_virtual_memory, {}, process.virtual_bytes);
    Set(series_->process_open_fds, {}, process.open_fds);
    Set(series_->process_max_fds, {}, process.max_fds);
    Set(series_->process_start_time, {}, process.start_time_seconds);
    size_t series = 0;
    series_->VisitAll(
        [&series](const auto& family) { series += family.size(); });
    Set(series_->metrics_series, {}, static_cast<double>(series));
  }

  // Constant after construction.
  const std::set<std::string> known_imports_;

  // Guards itself.
  const std::unique_ptr<AllSeries> series_;

  mutable absl::Mutex collecting_;
  std::vector<std::function<void()>> refreshers_ ABSL_GUARDED_BY(collecting_);
};

Metrics::Metrics(const MetricsOptions& options)
    : page_(std::make_shared<Page>(options)) {
  page_->Set(page_->series().build_info,
             {options.version, options.revision, kCompiler, kSanitizer}, 1);
  page_->Set(page_->series().start_time_seconds, {},
             UnixSeconds(options.start_time));
}

Metrics::~Metrics() = default;

void Metrics::CountDecisions(absl::string_view tenant,
                             absl::string_view verdict, absl::string_view mode,
                             uint64_t count) {
  page_->Add(page_->series().decisions, {tenant, verdict, mode},
             static_cast<double>(count));
}

void Metrics::ObserveDecision(absl::Duration took) {
  page_->Observe(page_->series().decision_duration, {}, took);
}

void Metrics::CountRuleMatch(const RuleMatch& match, uint64_t count) {
  page_->Add(page_->series().rule_matches,
             {match.policy, match.rule, match.severity, match.verdict,
              match.mode, match.tenant},
             static_cast<double>(count));
}

void Metrics::CountRateLimited(absl::string_view policy, absl::string_view rule,
                               uint64_t count) {
  page_->Add(page_->series().rate_limited, {policy, rule},
             static_cast<double>(count));
}

void Metrics::CountRuleTime(absl::string_view policy, absl::string_view rule,
                            absl::Duration time) {
  page_->Add(page_->series().rule_eval_seconds, {policy, rule},
             absl::ToDoubleSeconds(time));
}

void Metrics::CountConditionsFailed(absl::string_view tenant, uint64_t count) {
  page_->Add(page_->series().conditions_failed, {tenant},
             static_cast<double>(count));
}

void Metrics::SetRuleStates(const std::vector<RuleStateUse>& uses) {
  std::vector<Page::Row> bytes;
  for (const RuleStateUse& use : uses) {
    bytes.push_back({{use.policy, use.rule}, static_cast<double>(use.bytes)});
  }
  page_->ReplaceAll(page_->series().rule_state_bytes, bytes);
}

void Metrics::CountRuleEvictions(absl::string_view policy,
                                 absl::string_view rule, uint64_t count) {
  page_->Add(page_->series().rule_state_evictions, {policy, rule},
             static_cast<double>(count));
}

void Metrics::CountBudgetExceeded(absl::string_view tenant,
                                  absl::string_view budget) {
  page_->Add(page_->series().budget_exceeded, {tenant, budget}, 1);
}

void Metrics::CountHostCalls(absl::string_view import,
                             absl::string_view outcome, uint64_t count) {
  // A stub is called what its module says, which is nobody's label. That is no
  // overflow: it is meant.
  page_->Add(page_->series().host_calls,
             {page_->IsKnownImport(import) ? import : kOther, outcome},
             static_cast<double>(count));
}

void Metrics::CountFuel(absl::string_view tenant, absl::string_view kind,
                        uint64_t fuel) {
  page_->Add(page_->series().fuel_consumed, {tenant, kind},
             static_cast<double>(fuel));
}

void Metrics::CountInvocation(absl::string_view tenant,
                              absl::string_view outcome, absl::Duration took) {
  page_->Add(page_->series().invocations, {tenant, outcome}, 1);
  page_->Observe(page_->series().invocation_duration, {tenant, outcome}, took);
}

void Metrics::SetStores(absl::string_view state, uint64_t count) {
  page_->Set(page_->series().stores, {state}, static_cast<double>(count));
}

void Metrics::SetStoreMemory(absl::string_view tenant, uint64_t bytes) {
  page_->Set(page_->series().store_memory_bytes, {tenant},
             static_cast<double>(bytes));
}

void Metrics::CountStoreTermination(absl::string_view reason) {
  page_->Add(page_->series().store_terminations, {reason}, 1);
}

void Metrics::CountAdmission(absl::string_view result,
                             absl::string_view reason) {
  page_->Add(page_->series().module_admissions, {result, reason}, 1);
}

void Metrics::ObserveScan(absl::Duration took) {
  page_->Observe(page_->series().module_scan_duration, {}, took);
}

void Metrics::ObserveCompile(absl::Duration took) {
  page_->Observe(page_->series().module_compile_duration, {}, took);
}

void Metrics::SetModules(absl::string_view state, uint64_t count) {
  page_->Set(page_->series().modules, {state}, static_cast<double>(count));
}

void Metrics::CountCompilations(absl::string_view outcome, uint64_t count) {
  page_->Add(page_->series().compilations, {outcome},
             static_cast<double>(count));
}

void Metrics::CountCompileTime(absl::string_view level, absl::Duration time) {
  page_->Add(page_->series().compile_seconds, {level},
             absl::ToDoubleSeconds(time));
}

void Metrics::CountOptimised(absl::string_view result, uint64_t count) {
  page_->Add(page_->series().modules_optimised, {result},
             static_cast<double>(count));
}

void Metrics::CountCacheLookups(absl::string_view result, uint64_t count) {
  page_->Add(page_->series().code_cache_lookups, {result},
             static_cast<double>(count));
}

void Metrics::SetCacheBytes(uint64_t bytes) {
  page_->Set(page_->series().code_cache_bytes, {}, static_cast<double>(bytes));
}

void Metrics::SetPolicies(const std::vector<PolicyInfo>& policies) {
  std::vector<std::vector<absl::string_view>> all;
  all.reserve(policies.size());
  for (const PolicyInfo& policy : policies) {
    all.push_back({policy.policy,
                   absl::string_view(policy.version).substr(0, kVersionDigits),
                   policy.mode});
  }
  page_->Replace(page_->series().policy_info, all, 1);
}

void Metrics::CountPolicyReload(bool success, absl::Time when) {
  AllSeries& series = page_->series();
  page_->Add(series.policy_reloads, {success ? "success" : "failure"}, 1);
  page_->Set(series.policy_last_reload_success, {}, success ? 1 : 0);
  page_->Set(series.policy_last_reload_timestamp, {}, UnixSeconds(when));
}

void Metrics::SetPolicyExceptions(
    const std::vector<PolicyExceptions>& policies) {
  std::vector<Page::Row> expired;
  std::vector<Page::Row> expiring;
  for (const PolicyExceptions& policy : policies) {
    expired.push_back({{policy.policy}, static_cast<double>(policy.expired)});
    expiring.push_back({{policy.policy}, static_cast<double>(policy.expiring)});
  }
  page_->ReplaceAll(page_->series().policy_exceptions_expired, expired);
  page_->ReplaceAll(page_->series().policy_exceptions_expiring, expiring);
}

void Metrics::CountPolicyRollback(absl::string_view reason) {
  page_->Add(page_->series().policy_rollbacks, {reason}, 1);
}

void Metrics::CountPolicyStoreUpdate(absl::string_view result) {
  page_->Add(page_->series().policy_store_updates, {result}, 1);
}

void Metrics::CountInternalFault(absl::string_view fault, uint64_t count) {
  page_->Add(page_->series().internal_faults, {fault},
             static_cast<double>(count));
}

void Metrics::CountEventEmitted(absl::string_view kind) {
  page_->Add(page_->series().events_emitted, {kind}, 1);
}

void Metrics::CountEventsDelivered(absl::string_view sink, uint64_t count) {
  page_->Add(page_->series().events_delivered, {sink},
             static_cast<double>(count));
}

void Metrics::CountEventsDropped(absl::string_view sink,
                                 absl::string_view reason, uint64_t count) {
  page_->Add(page_->series().events_dropped, {sink, reason},
             static_cast<double>(count));
}

void Metrics::SetEventSink(absl::string_view sink, uint64_t depth,
                           uint64_t capacity, absl::Duration lag,
                           uint64_t subscribers) {
  AllSeries& series = page_->series();
  page_->Set(series.event_queue_depth, {sink}, static_cast<double>(depth));
  page_->Set(series.event_queue_capacity, {sink},
             static_cast<double>(capacity));
  page_->Set(series.event_lag, {sink}, absl::ToDoubleSeconds(lag));
  page_->Set(series.event_subscribers, {sink},
             static_cast<double>(subscribers));
}

void Metrics::CountRpc(absl::string_view service, absl::string_view method,
                       absl::string_view code, absl::Duration took) {
  page_->Add(page_->series().grpc_handled, {service, method, code}, 1);
  page_->Observe(page_->series().grpc_handling, {service, method, code}, took);
}

void Metrics::ObserveStorage(absl::string_view engine, absl::string_view op,
                             absl::Duration took, bool failed) {
  page_->Observe(page_->series().storage_latency, {engine, op}, took);
  if (failed) page_->Add(page_->series().storage_errors, {engine, op}, 1);
}

void Metrics::BeforeScrape(std::function<void()> refresh) {
  page_->BeforeScrape(std::move(refresh));
}

std::shared_ptr<prometheus::Collectable> Metrics::page() const { return page_; }

std::string Metrics::Text() const {
  return prometheus::TextSerializer().Serialize(page_->Collect());
}

}  // namespace callgate::metrics
