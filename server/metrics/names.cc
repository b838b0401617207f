#include "server/metrics/names.h"

#include <iterator>

#include "server/events/event_observer.h"
#include "server/status_code_name.h"
#include "server/storage/storage_observer.h"

namespace callgate::metrics {
namespace {

using events::kDropClosed;
using events::kDropQueueFull;
using events::kDropStoreBudget;
using events::kDropWriteError;
using events::kSinkAlertFile;
using events::kSinkLog;
using events::kSinkWatch;
using storage::kEngineFiles;
using storage::kEngineSqlite;

using Values = std::vector<const char*>;

const Values kVerdicts = {"allow", "log",  "alert",      "throttle",
                          "deny",  "trap", "kill_store", "quarantine_module"};
const Values kModes = {"enforce", "audit"};
const Values kSeverities = {"debug",   "info",  "notice",
                            "warning", "error", "critical"};
const Values kBudgets = {
    "fuel_per_call",       "fuel_per_store",       "wall_per_call",
    "memory_bytes_total",  "table_elements_total", "call_depth",
    "host_calls_per_call", "host_bytes_per_call",  "open_handles",
    "cpu_per_call",        "stack_bytes",          "events_per_call"};
const Values kOutcomes = {
    "returned",        "exited",        "trapped",
    "policy_trapped",  "policy_killed", "policy_quarantined",
    "budget_exceeded", "killed",        "failed"};
const Values kTerminations = {
    "finished", "killed",   "policy_killed", "policy_quarantined",
    "idle",     "draining", "failed"};
const Values kEventKinds = {"decision", "budget", "lifecycle", "policy", "gap"};
const Values kGrpcCodes(std::begin(kStatusCodeNames),
                        std::end(kStatusCodeNames));
const Values kStorageOps = {
    storage::kOpPutModule,      storage::kOpGetModule,
    storage::kOpListModules,    storage::kOpDeleteModule,
    storage::kOpPutPolicy,      storage::kOpListPolicies,
    storage::kOpCommitPolicies, storage::kOpReadPolicyHistory,
    storage::kOpPutQuarantine,  storage::kOpFindQuarantine,
    storage::kOpPutProfile,     storage::kOpDeleteProfile,
    storage::kOpListProfiles,   storage::kOpPutBlob,
    storage::kOpGetBlob,        storage::kOpRemoveBlob,
    storage::kOpWriteTrace,
};

// One series for each value of a single closed label.
std::vector<Values> Each(const Values& values) {
  std::vector<Values> series;
  for (const char* value : values) series.push_back({value});
  return series;
}

Families MakeFamilies() {
  Families f;

  f.build_info = {
      "callgate_build_info",
      "Which build this is. Always 1.",
      Kind::kGauge,
      {{"version", {}}, {"revision", {}}, {"compiler", {}}, {"sanitizer", {}}},
      {},
      {}};
  f.start_time_seconds = {"callgate_start_time_seconds",
                          "When the daemon started, in Unix time.",
                          Kind::kGauge,
                          {},
                          {},
                          {{}}};

  f.decisions_total = {
      "callgate_decisions_total",
      "Judged calls and growths. In mode audit the verdict was recorded and "
      "not "
      "enforced.",
      Kind::kCounter,
      {{"tenant", {}}, {"verdict", kVerdicts}, {"mode", kModes}},
      {},
      {}};
  f.decision_duration_seconds = {
      "callgate_decision_duration_seconds",
      "How long a decision took, of a sample of one in 1024.",
      Kind::kHistogram,
      {},
      {50e-9, 100e-9, 200e-9, 500e-9, 1e-6, 2e-6, 5e-6, 10e-6, 20e-6, 50e-6,
       100e-6, 200e-6, 500e-6, 1e-3},
      {{}}};
  f.rule_matches_total = {"callgate_rule_matches_total",
                          "Times a rule matched, by what it asks for.",
                          Kind::kCounter,
                          {{"policy", {}},
                           {"rule", {}},
                           {"severity", kSeverities},
                           {"verdict", kVerdicts},
                           {"mode", kModes},
                           {"tenant", {}}},
                          {},
                          {}};
  f.rate_limited_total = {"callgate_rate_limited_total",
                          "Calls over a rate limit.",
                          Kind::kCounter,
                          {{"policy", {}}, {"rule", {}}},
                          {},
                          {}};
  f.rule_eval_seconds_total = {
      "callgate_rule_eval_seconds_total",
      "Time that conditions of rules took, estimated from one decision in "
      "1024.",
      Kind::kCounter,
      {{"policy", {}}, {"rule", {}}},
      {},
      {}};
  f.rule_state_bytes = {"callgate_rule_state_bytes",
                        "What a rule remembers now, for all that share it.",
                        Kind::kGauge,
                        {{"policy", {}}, {"rule", {}}},
                        {},
                        {}};
  f.rule_state_evictions_total = {
      "callgate_rule_state_evictions_total",
      "Things that a rule had to forget before their time.",
      Kind::kCounter,
      {{"policy", {}}, {"rule", {}}},
      {},
      {}};
  f.conditions_failed_total = {
      "callgate_conditions_failed_total",
      "Conditions that could not be evaluated. A rule that restricts counted "
      "as true, one that allows as false.",
      Kind::kCounter,
      {{"tenant", {}}},
      {},
      {}};
  f.budget_exceeded_total = {"callgate_budget_exceeded_total",
                             "Times a budget was used up.",
                             Kind::kCounter,
                             {{"tenant", {}}, {"budget", kBudgets}},
                             {},
                             {}};

  f.host_calls_total = {
      "callgate_host_calls_total",
      "Calls from guests of host functions, by what became of them: it ran, "
      "the "
      "guest got an answer instead, or the guest was stopped.",
      Kind::kCounter,
      {{"import", {}}, {"outcome", {"ran", "answered", "refused"}}},
      {},
      {}};
  f.fuel_consumed_total = {"callgate_fuel_consumed_total",
                           "Fuel that guests used, in the engine's unit.",
                           Kind::kCounter,
                           {{"tenant", {}}, {"kind", {"guest"}}},
                           {},
                           {}};
  f.invocations_total = {"callgate_invocations_total",
                         "Calls into guests, by how they ended.",
                         Kind::kCounter,
                         {{"tenant", {}}, {"outcome", kOutcomes}},
                         {},
                         {}};
  f.invocation_duration_seconds = {
      "callgate_invocation_duration_seconds",
      "How long calls into guests took.",
      Kind::kHistogram,
      {{"tenant", {}}, {"outcome", kOutcomes}},
      {1e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300},
      {}};

  f.stores = {"callgate_stores",
              "Stores that live now.",
              Kind::kGauge,
              {{"state", {"idle", "running"}}},
              {},
              Each({"idle", "running"})};
  f.store_memory_bytes = {"callgate_store_memory_bytes",
                          "Memories and tables of all Stores of a tenant.",
                          Kind::kGauge,
                          {{"tenant", {}}},
                          {},
                          {}};
  f.store_terminations_total = {"callgate_store_terminations_total",
                                "Stores that ended, by why.",
                                Kind::kCounter,
                                {{"reason", kTerminations}},
                                {},
                                Each(kTerminations)};

  const Values refusals = {"limit",     "malformed",       "invalid",
                           "budget",    "digest_mismatch", "quarantined",
                           "incomplete"};
  Values reasons = {"none"};
  reasons.insert(reasons.end(), refusals.begin(), refusals.end());
  f.module_admissions_total = {
      "callgate_module_admissions_total",
      "Modules that were offered, by what became of them.",
      Kind::kCounter,
      {{"result", {"admitted", "refused"}}, {"reason", reasons}},
      {},
      {{"admitted", "none"}}};
  for (const char* refusal : refusals) {
    f.module_admissions_total.initial.push_back({"refused", refusal});
  }
  f.module_scan_duration_seconds = {"callgate_module_scan_duration_seconds",
                                    "How long the first scan of a module took.",
                                    Kind::kHistogram,
                                    {},
                                    {1e-5, 1e-4, 1e-3, 0.01, 0.1, 1},
                                    {{}}};
  f.module_compile_duration_seconds = {
      "callgate_module_compile_duration_seconds",
      "How long it took to make an admitted module ready to run.",
      Kind::kHistogram,
      {},
      {1e-3, 0.01, 0.1, 0.5, 1, 5, 10, 60},
      {{}}};
  f.modules = {"callgate_modules",
               "Modules that are kept now, and those in quarantine. "
               "quarantine_not_stored: in quarantine for as long as the daemon "
               "runs, as that could not be stored.",
               Kind::kGauge,
               {{"state", {"stored", "quarantined", "quarantine_not_stored"}}},
               {},
               Each({"stored", "quarantined", "quarantine_not_stored"})};
  const std::vector<const char*> compilation_outcomes = {
      "compiled",          "refused",         "crashed",     "timed_out",
      "over_memory",       "bad_answer",      "unavailable", "queue_full",
      "tenant_queue_full", "over_tenant_time"};
  f.compilations_total = {
      "callgate_compilations_total",
      "Compilations of modules, by how they ended: compiled; refused, by the "
      "compiler with a reason; crashed, timed_out, over_memory, bad_answer: "
      "the worker process failed on the module; unavailable, queue_full: there "
      "was no worker to be had; tenant_queue_full, over_tenant_time: the "
      "tenant's budget was used up.",
      Kind::kCounter,
      {{"outcome", compilation_outcomes}},
      {},
      Each(compilation_outcomes)};
  f.compile_seconds_total = {
      "callgate_compile_seconds_total",
      "Time that workers had a module, by the level of the code asked for.",
      Kind::kCounter,
      {{"level", {"baseline", "optimised"}}},
      {},
      Each({"baseline", "optimised"})};
  f.modules_optimised_total = {
      "callgate_modules_optimised_total",
      "Modules compiled again for better code, in the background; one that "
      "failed runs on as it is.",
      Kind::kCounter,
      {{"result", {"done", "failed"}}},
      {},
      Each({"done", "failed"})};
  f.code_cache_lookups_total = {
      "callgate_code_cache_lookups_total",
      "Looks for compiled code on disk; corrupt: it was there, and not as it "
      "had been stored.",
      Kind::kCounter,
      {{"result", {"hit", "miss", "corrupt"}}},
      {},
      Each({"hit", "miss", "corrupt"})};
  f.code_cache_bytes = {"callgate_code_cache_bytes",
                        "Compiled code on disk now.",
                        Kind::kGauge,
                        {},
                        {},
                        {{}}};

  f.policy_info = {"callgate_policy_info",
                   "A policy in force. Always 1; a version that is replaced "
                   "disappears.",
                   Kind::kGauge,
                   {{"policy", {}}, {"version", {}}, {"mode", kModes}},
                   {},
                   {}};
  f.policy_last_reload_success = {
      "callgate_policy_last_reload_success",
      "1 if every policy that was there at the last load is in force, else 0.",
      Kind::kGauge,
      {},
      {},
      {{}}};
  f.policy_last_reload_timestamp_seconds = {
      "callgate_policy_last_reload_timestamp_seconds",
      "When policies were loaded last, successfully or not, in Unix time.",
      Kind::kGauge,
      {},
      {},
      {{}}};
  f.policy_reloads_total = {"callgate_policy_reloads_total",
                            "Loads of policies.",
                            Kind::kCounter,
                            {{"result", {"success", "failure"}}},
                            {},
                            Each({"success", "failure"})};
  f.policy_exceptions_expired = {
      "callgate_policy_exceptions_expired",
      "Exceptions of a policy in force that have ended and have no effect.",
      Kind::kGauge,
      {{"policy", {}}},
      {},
      {}};
  f.policy_exceptions_expiring = {
      "callgate_policy_exceptions_expiring",
      "Exceptions of a policy in force that end within fourteen days.",
      Kind::kGauge,
      {{"policy", {}}},
      {},
      {}};
  f.policy_store_updates_total = {
      "callgate_policy_store_updates_total",
      "Stores that were given other policies while they lived. unfit: some "
      "calls cannot be judged by them and are stopped; none_left: no policy "
      "applies, and all calls are refused.",
      Kind::kCounter,
      {{"result", {"replaced", "unfit", "none_left"}}},
      {},
      Each({"none_left", "replaced", "unfit"})};
  f.policy_rollbacks_total = {
      "callgate_policy_rollbacks_total",
      "Times that a policy went back to an earlier version, because somebody "
      "asked for it or because denials surged.",
      Kind::kCounter,
      {{"reason", {"operator", "surge"}}},
      {},
      Each({"operator", "surge"})};

  const Values faults = {"engine",
                         "quarantine_not_stored",
                         "quarantine_not_read",
                         "policies_not_read",
                         "policy_history_not_stored",
                         "probes_not_placed",
                         "profile_not_stored",
                         "trace_not_written",
                         "alerts_not_written"};
  f.internal_faults_total = {
      "callgate_internal_faults_total",
      "Times that something went wrong inside the daemon between a decision "
      "and its effect; nothing opens by it. engine: the policy engine could "
      "not judge a call, which was stopped.",
      Kind::kCounter,
      {{"fault", faults}},
      {},
      Each(faults)};

  f.events_emitted_total = {"callgate_events_emitted_total",
                            "Events that happened, whatever became of them.",
                            Kind::kCounter,
                            {{"kind", kEventKinds}},
                            {},
                            Each(kEventKinds)};
  f.events_delivered_total = {"callgate_events_delivered_total",
                              "Events that a reader got.",
                              Kind::kCounter,
                              {{"sink", {kSinkWatch, kSinkAlertFile}}},
                              {},
                              Each({kSinkWatch, kSinkAlertFile})};
  f.events_dropped_total = {
      "callgate_events_dropped_total",
      "Events that a reader should have got and did not; sink log: no reader "
      "could.",
      Kind::kCounter,
      {{"sink", {kSinkLog, kSinkWatch, kSinkAlertFile}},
       {"reason",
        {kDropStoreBudget, kDropQueueFull, kDropWriteError, kDropClosed}}},
      {},
      {{kSinkLog, kDropStoreBudget},
       {kSinkWatch, kDropQueueFull},
       {kSinkWatch, kDropWriteError},
       {kSinkAlertFile, kDropQueueFull},
       {kSinkAlertFile, kDropWriteError},
       {kSinkAlertFile, kDropClosed}}};
  const Label sinks = {"sink", {kSinkWatch, kSinkAlertFile}};
  f.event_queue_depth = {"callgate_event_queue_depth",
                         "Events that the slowest reader has not read yet.",
                         Kind::kGauge,
                         {sinks},
                         {},
                         Each(sinks.values)};
  f.event_queue_capacity = {"callgate_event_queue_capacity",
                            "Events that are kept for readers.",
                            Kind::kGauge,
                            {sinks},
                            {},
                            Each(sinks.values)};
  f.event_lag_seconds = {
      "callgate_event_lag_seconds",
      "Age of the oldest event that the slowest reader has not read yet.",
      Kind::kGauge,
      {sinks},
      {},
      Each(sinks.values)};
  f.event_subscribers = {"callgate_event_subscribers",
                         "Readers of events now.",
                         Kind::kGauge,
                         {sinks},
                         {},
                         Each(sinks.values)};

  f.grpc_server_handled_total = {
      "callgate_grpc_server_handled_total",
      "RPCs that ended, by status code.",
      Kind::kCounter,
      {{"service", {}}, {"method", {}}, {"code", kGrpcCodes}},
      {},
      {}};
  f.grpc_server_handling_seconds = {
      "callgate_grpc_server_handling_seconds",
      "How long RPCs took.",
      Kind::kHistogram,
      {{"service", {}}, {"method", {}}, {"code", kGrpcCodes}},
      {5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60},
      {}};

  std::vector<Values> operations;
  for (const char* op : kStorageOps) {
    const bool files = op == storage::kOpPutBlob || op == storage::kOpGetBlob ||
                       op == storage::kOpRemoveBlob ||
                       op == storage::kOpWriteTrace;
    operations.push_back({files ? kEngineFiles : kEngineSqlite, op});
  }
  const std::vector<Label> operation_labels = {
      {"engine", {kEngineSqlite, kEngineFiles}}, {"op", kStorageOps}};
  f.storage_errors_total = {"callgate_storage_errors_total",
                            "Operations that the disk or its contents failed.",
                            Kind::kCounter,
                            operation_labels,
                            {},
                            operations};
  f.storage_latency_seconds = {
      "callgate_storage_latency_seconds",
      "How long operations on the data directory took.",
      Kind::kHistogram,
      operation_labels,
      {1e-5, 1e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1, 5},
      {}};

  f.metrics_series = {"callgate_metrics_series",
                      "Series on this page; a histogram counts as one.",
                      Kind::kGauge,
                      {},
                      {},
                      {{}}};
  f.metrics_series_overflow_total = {
      "callgate_metrics_series_overflow_total",
      "Updates whose label values were folded into \"other\".",
      Kind::kCounter,
      {{"family", {}}},
      {},
      {}};

  f.process_cpu_seconds_total = {
      "process_cpu_seconds_total",
      "User and system CPU time of the daemon, its ended children not counted.",
      Kind::kCounter,
      {},
      {},
      {{}}};
  f.process_resident_memory_bytes = {"process_resident_memory_bytes",
                                     "Resident memory of the daemon.",
                                     Kind::kGauge,
                                     {},
                                     {},
                                     {{}}};
  f.process_virtual_memory_bytes = {"process_virtual_memory_bytes",
                                    "Address space of the daemon.",
                                    Kind::kGauge,
                                    {},
                                    {},
                                    {{}}};
  f.process_open_fds = {
      "process_open_fds", "Open file descriptors.", Kind::kGauge, {}, {}, {{}}};
  f.process_max_fds = {"process_max_fds",
                       "Limit of open file descriptors.",
                       Kind::kGauge,
                       {},
                       {},
                       {{}}};
  f.process_start_time_seconds = {"process_start_time_seconds",
                                  "When the process started, in Unix time.",
                                  Kind::kGauge,
                                  {},
                                  {},
                                  {{}}};
  return f;
}

}  // namespace

const Families& AllFamilies() {
  static const Families* const families = new Families(MakeFamilies());
  return *families;
}

std::vector<const Family*> FamiliesInOrder() {
  const Families& f = AllFamilies();
  return {
      &f.build_info,
      &f.start_time_seconds,
      &f.decisions_total,
      &f.decision_duration_seconds,
      &f.rule_matches_total,
      &f.rate_limited_total,
      &f.rule_eval_seconds_total,
      &f.rule_state_bytes,
      &f.rule_state_evictions_total,
      &f.conditions_failed_total,
      &f.budget_exceeded_total,
      &f.host_calls_total,
      &f.fuel_consumed_total,
      &f.invocations_total,
      &f.invocation_duration_seconds,
      &f.stores,
      &f.store_memory_bytes,
      &f.store_terminations_total,
      &f.module_admissions_total,
      &f.module_scan_duration_seconds,
      &f.module_compile_duration_seconds,
      &f.modules,
      &f.compilations_total,
      &f.compile_seconds_total,
      &f.modules_optimised_total,
      &f.code_cache_lookups_total,
      &f.code_cache_bytes,
      &f.policy_info,
      &f.policy_last_reload_success,
      &f.policy_last_reload_timestamp_seconds,
      &f.policy_reloads_total,
      &f.policy_rollbacks_total,
      &f.policy_exceptions_expired,
      &f.policy_exceptions_expiring,
      &f.policy_store_updates_total,
      &f.internal_faults_total,
      &f.events_emitted_total,
      &f.events_delivered_total,
      &f.events_dropped_total,
      &f.event_queue_depth,
      &f.event_queue_capacity,
      &f.event_lag_seconds,
      &f.event_subscribers,
      &f.grpc_server_handled_total,
      &f.grpc_server_handling_seconds,
      &f.storage_errors_total,
      &f.storage_latency_seconds,
      &f.metrics_series,
      &f.metrics_series_overflow_total,
      &f.process_cpu_seconds_total,
      &f.process_resident_memory_bytes,
      &f.process_virtual_memory_bytes,
      &f.process_open_fds,
      &f.process_max_fds,
      &f.process_start_time_seconds,
  };
}

}  // namespace callgate::metrics
