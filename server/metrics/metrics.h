// What the daemon counts. One object for the process, made first and destroyed
// last; everything that happens is told to it by whoever knows.
//
// Any thread; calls take a short lock and never wait for a scrape longer than
// it copies numbers. Counting belongs outside a guest's time where it can:
// a Session adds up what a call did and tells it once, when the call is over.
//
// Values of closed labels (names.h) are given as those words; a word that is
// not in the list is counted under "other", and so is an open label's value
// once its family has its full number of series. Both show in
// callgate_metrics_series_overflow_total.

#ifndef CALLGATE_SERVER_METRICS_METRICS_H_
#define CALLGATE_SERVER_METRICS_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "prometheus/collectable.h"

namespace callgate::metrics {

struct MetricsOptions {
  // callgate_build_info, which adds the compiler.
  std::string version;
  std::string revision;
  absl::Time start_time;
  // Host functions that may be a label, "module.name" each: those that the
  // daemon and its embedder define, never a module's own words.
  std::vector<std::string> known_imports;
  // Of each family, beyond the series for "other".
  size_t series_max = 2'000;
};

struct RuleMatch {
  absl::string_view policy;
  absl::string_view rule;
  absl::string_view severity;  // "notice", …
  absl::string_view verdict;  // "deny", …; of an audit rule, the would-be one
  absl::string_view mode;     // "enforce" or "audit"
  absl::string_view tenant;
};

struct PolicyInfo {
  std::string policy;
  std::string version;  // hex; twelve digits are shown
  std::string mode;
};

class Metrics {
 public:
  explicit Metrics(const MetricsOptions& options);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // --- Judging -----------------------------------------------------------
  // `verdict`: allow, log, alert, throttle, deny, trap, kill_store,
  // quarantine_module. `mode`: enforce, audit.
  void CountDecisions(absl::string_view tenant, absl::string_view verdict,
                      absl::string_view mode, uint64_t count);
  void ObserveDecision(absl::Duration took);
  void CountRuleMatch(const RuleMatch& match, uint64_t count);
  void CountRateLimited(absl::string_view policy, absl::string_view rule,
                        uint64_t count);
  // Of one rule's condition, with all that a sample stands for.
  void CountRuleTime(absl::string_view policy, absl::string_view rule,
                     absl::Duration time);
  void CountConditionsFailed(absl::string_view tenant, uint64_t count);
  // What each rule remembers now.
  struct RuleStateUse {
    std::string policy;
    std::string rule;
    uint64_t bytes = 0;
  };
  void SetRuleStates(const std::vector<RuleStateUse>& uses);
  // What it had to forget.
  void CountRuleEvictions(absl::string_view policy, absl::string_view rule,
                          uint64_t count);
  // `budget`: the policy file's word for it ("fuel_per_call").
  void CountBudgetExceeded(absl::string_view tenant, absl::string_view budget);

  // --- Running -----------------------------------------------------------
  // `import`: "module.name". `outcome`: ran, answered (denied with an errno),
  // refused (the guest was stopped).
  void CountHostCalls(absl::string_view import, absl::string_view outcome,
                      uint64_t count);
  // `kind`: guest.
  void CountFuel(absl::string_view tenant, absl::string_view kind,
                 uint64_t fuel);
  // `outcome`: returned, exited, trapped, policy_trapped, policy_killed,
  // policy_quarantined, budget_exceeded, killed, failed.
  void CountInvocation(absl::string_view tenant, absl::string_view outcome,
                       absl::Duration took);

  // --- Stores ------------------------------------------------------------
  // `state`: idle, running.
  void SetStores(absl::string_view state, uint64_t count);
  void SetStoreMemory(absl::string_view tenant, uint64_t bytes);
  // `reason`: finished, killed, policy_killed, policy_quarantined, idle,
  // draining, failed.
  void CountStoreTermination(absl::string_view reason);

  // --- Modules -----------------------------------------------------------
  // `result`: admitted, refused. `reason`: none, or why it was refused:
  // limit, malformed, invalid, digest_mismatch, quarantined, incomplete.
  void CountAdmission(absl::string_view result, absl::string_view reason);
  void ObserveScan(absl::Duration took);
  void ObserveCompile(absl::Duration took);
  // `state`: stored, quarantined, quarantine_not_stored.
  void SetModules(absl::string_view state, uint64_t count);
  // The words of the labels are in names.cc.
  void CountCompilations(absl::string_view outcome, uint64_t count);
  void CountCompileTime(absl::string_view level, absl::Duration time);
  void CountOptimised(absl::string_view result, uint64_t count);
  void CountCacheLookups(absl::string_view result, uint64_t count);
  void SetCacheBytes(uint64_t bytes);

  // --- Policies ----------------------------------------------------------
  // The policies in force; those that are not in the list any more go.
  void SetPolicies(const std::vector<PolicyInfo>& policies);
  // The policies were loaded, at start, on request or by ApplyPolicy. Success:
  // all that there are is in force.
  void CountPolicyReload(bool success, absl::Time when);
  // Of each policy in force that has exceptions.
  struct PolicyExceptions {
    std::string policy;
    uint64_t expired = 0;
    uint64_t expiring = 0;
  };
  void SetPolicyExceptions(const std::vector<PolicyExceptions>& policies);
  // `reason`: operator, surge.
  void CountPolicyRollback(absl::string_view reason);
  // A Store that lives was given other policies. `result`: replaced, unfit,
  // none_left.
  void CountPolicyStoreUpdate(absl::string_view result);

  // `fault`: InternalFaultName's words.
  void CountInternalFault(absl::string_view fault, uint64_t count);

  // --- Events ------------------------------------------------------------
  void CountEventEmitted(absl::string_view kind);
  void CountEventsDelivered(absl::string_view sink, uint64_t count);
  void CountEventsDropped(absl::string_view sink, absl::string_view reason,
                          uint64_t count);
  void SetEventSink(absl::string_view sink, uint64_t depth, uint64_t capacity,
                    absl::Duration lag, uint64_t subscribers);

  // --- RPCs --------------------------------------------------------------
  // `service` and `method` must be names of the daemon's own services, never
  // what a caller wrote. `code`: OK, CANCELLED, INVALID_ARGUMENT, ….
  void CountRpc(absl::string_view service, absl::string_view method,
                absl::string_view code, absl::Duration took);

  // --- Storage -----------------------------------------------------------
  // `engine`: sqlite, files.
  void ObserveStorage(absl::string_view engine, absl::string_view op,
                      absl::Duration took, bool failed);

  // --- The page ----------------------------------------------------------
  // Called before each scrape, on the scraping thread, to set gauges whose
  // truth lies elsewhere. Must outlive the page's use; give it before serving.
  void BeforeScrape(std::function<void()> refresh);

  // What /metrics shows, for page_server.h.
  std::shared_ptr<prometheus::Collectable> page() const;
  // The page as text, for tests and for --local runs.
  std::string Text() const;

 private:
  class Page;
  // Shared with whoever serves it, and used by them only while this lives.
  const std::shared_ptr<Page> page_;
};

}  // namespace callgate::metrics

#endif  // CALLGATE_SERVER_METRICS_METRICS_H_
