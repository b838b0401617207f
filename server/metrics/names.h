// Every metric of the daemon, once: its name, help text, kind and labels.
// Dashboards and alert rules depend on these, so a golden test holds them.
//
// No label value comes from a module, path, host name or message. A label is
// either closed, and lists its values here, or is bounded by what operators
// configured (tenants, policies, rules, host functions, RPCs) and by the cap on
// series; a value outside goes to "other" and is counted.

#ifndef CALLGATE_SERVER_METRICS_NAMES_H_
#define CALLGATE_SERVER_METRICS_NAMES_H_

#include <vector>

namespace callgate::metrics {

enum class Kind { kCounter, kGauge, kHistogram };

struct Label {
  const char* name;
  // The only values there are, and kOther; empty if the label is open.
  std::vector<const char*> values;
};

struct Family {
  const char* name;
  const char* help;
  Kind kind;
  std::vector<Label> labels;
  // Upper bounds, in the unit of the name. For histograms.
  std::vector<double> buckets;
  // Label values of the series that are there from the start, at zero: all that
  // are known beforehand, so that a first event is an increase that a rule can
  // see, and not the birth of a series.
  std::vector<std::vector<const char*>> initial;
};

// What a value that is not allowed, or not allowed any more, becomes.
inline constexpr char kOther[] = "other";

struct Families {
  Family build_info;
  Family start_time_seconds;

  Family decisions_total;
  Family decision_duration_seconds;
  Family rule_matches_total;
  Family rate_limited_total;
  Family rule_eval_seconds_total;
  Family rule_state_bytes;
  Family rule_state_evictions_total;
  Family conditions_failed_total;
  Family budget_exceeded_total;

  Family host_calls_total;
  Family fuel_consumed_total;
  Family invocations_total;
  Family invocation_duration_seconds;

  Family stores;
  Family store_memory_bytes;
  Family store_terminations_total;

  Family module_admissions_total;
  Family module_scan_duration_seconds;
  Family module_compile_duration_seconds;
  Family modules;
  Family compilations_total;
  Family compile_seconds_total;
  Family modules_optimised_total;
  Family code_cache_lookups_total;
  Family code_cache_bytes;

  Family policy_info;
  Family policy_last_reload_success;
  Family policy_last_reload_timestamp_seconds;
  Family policy_reloads_total;
  Family policy_rollbacks_total;
  Family policy_exceptions_expired;
  Family policy_exceptions_expiring;
  Family policy_store_updates_total;
  Family internal_faults_total;

  Family events_emitted_total;
  Family events_delivered_total;
  Family events_dropped_total;
  Family event_queue_depth;
  Family event_queue_capacity;
  Family event_lag_seconds;
  Family event_subscribers;

  Family grpc_server_handled_total;
  Family grpc_server_handling_seconds;

  Family storage_errors_total;
  Family storage_latency_seconds;

  Family metrics_series;
  Family metrics_series_overflow_total;

  Family process_cpu_seconds_total;
  Family process_resident_memory_bytes;
  Family process_virtual_memory_bytes;
  Family process_open_fds;
  Family process_max_fds;
  Family process_start_time_seconds;
};

// Pointers into AllFamilies(), in the order of the page.
std::vector<const Family*> FamiliesInOrder();

// Made once, never changed.
const Families& AllFamilies();

}  // namespace callgate::metrics

#endif  // CALLGATE_SERVER_METRICS_NAMES_H_
