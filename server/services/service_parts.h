// What the services are made of: borrowed from the daemon, which outlives them.

#ifndef CALLGATE_SERVER_SERVICES_SERVICE_PARTS_H_
#define CALLGATE_SERVER_SERVICES_SERVICE_PARTS_H_

#include <atomic>

#include "policy/anomaly/profile_book.h"
#include "policy/state/rule_states.h"
#include "runtime/engine.h"
#include "server/allowed_dirs.h"
#include "server/config.h"
#include "server/denial_surge.h"
#include "server/events/event_log.h"
#include "server/explanations.h"
#include "server/guest_runs.h"
#include "server/host_module.h"
#include "server/internal_faults.h"
#include "server/metrics/metrics.h"
#include "server/module_library.h"
#include "server/policies/policy_catalogue.h"
#include "server/policy_rollout.h"
#include "server/quarantine_book.h"
#include "server/storage/storage.h"
#include "server/store_registry.h"
#include "server/tested_policies.h"
#include "server/timer.h"
#include "server/traces/trace_library.h"
#include "server/worker_pool.h"

namespace callgate {

struct ServiceParts {
  const Config& config;
  const Engine& engine;
  const HostModules& host_modules;
  const AllowedDirs& allowed_dirs;
  storage::Storage& storage;
  QuarantineBook& quarantines;
  policies::PolicyCatalogue& policies;
  policy::anomaly::ProfileBook& profiles;
  ModuleLibrary& modules;
  StoreRegistry& stores;
  PolicyRollout& rollout;
  DenialSurge* surge;  // null: nobody looks for surges
  policy::RuleStates& rule_states;
  events::EventLog& events;
  InternalFaults& faults;
  Explanations& explanations;
  TestedPolicies& tested_policies;
  // Null: the operator wants no traces.
  traces::TraceLibrary* traces;
  metrics::Metrics& metrics;
  Timer& timer;
  // Calls into guests.
  GuestRuns& runs;
  // What such a call has to wait for and cannot park for (RunAside): a thread
  // for each of them, if need be.
  WorkerPool& asides;
  // Compilations of policies, and what waits for the disk.
  WorkerPool& control;
  // Uploaded modules on their way through the compiler, one thread for each
  // upload: who of them is next is the compiler's to say.
  WorkerPool& compiles;
  // Readers of the event log.
  WorkerPool& watchers;
  // Nothing new begins any more.
  const std::atomic<bool>& draining;
};

// Unavailable DRAINING, or OK.
absl::Status CheckNotDraining(const ServiceParts& parts);

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_SERVICE_PARTS_H_
