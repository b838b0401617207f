// Replays of the daemon's traces: under one policy, for whoever tries it, and
// under a change of policies that shall come into force, which is refused if
// more verdicts would be others than may be.
//
// A change is held against the verdicts that were given when the trace was
// recorded. Only Stores that it is about are replayed: those that some policy
// judged which changes, goes, or is new and applies to them. A Store that was
// also judged by a policy which is not known any more, as one that came with
// its request, is left out, since nobody can say what it would have said.
//
// While a change is replayed no other change of policies can happen, so that
// it takes Bounds at most; what is more is refused by name.
//
// Any thread.

#ifndef CALLGATE_SERVER_POLICY_REPLAY_H_
#define CALLGATE_SERVER_POLICY_REPLAY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "policy/policy_set.h"
#include "policy/trial/replay.h"
#include "server/policies/policy_gate.h"
#include "server/traces/trace_library.h"

namespace callgate {

// Those that judge a Store in a replay of `candidate`: it alone, or those that
// judged it, as they are now, with `candidate` in the place of the one of its
// name. None for a Store that it is not for.
policy::trial::ReplayJudges JudgesWith(
    const policy::PolicySet& in_force,
    const std::shared_ptr<const policy::Policy>& candidate, bool alone,
    const policy::trial::ReplayedStore& store);

// Those that would judge a Store after a change. None for one that it is not
// about.
policy::trial::ReplayJudges JudgesAfter(
    const policy::PolicySet& before, const policy::PolicySet& after,
    const policy::trial::ReplayedStore& store);

// The traces that a replay reads: the one of this name, or, where that is
// empty, those that have anything of the time since.
std::vector<std::string> TracesOf(traces::TraceLibrary& traces,
                                  const std::string& name, absl::Time since);

// Replays these, one after the other. Errors are those of Replay and of
// TraceLibrary::Read, with their reasons.
absl::Status ReplayTraces(traces::TraceLibrary& traces,
                          const std::vector<std::string>& names,
                          policy::trial::ReplayOptions options,
                          policy::trial::ReplayReport* report);

// Of the replay of one change.
struct ReplayBounds {
  uint64_t events_max = 2'000'000;
  absl::Duration time_max = absl::Seconds(10);
};

// As policies::ReplayGate. `traces` may be null: there are none, and whatever
// is demanded is refused.
//   FailedPrecondition  TRACING_OFF
//   NotFound            TRACE_NOT_FOUND
//   DataLoss            TRACE_DAMAGED
//   ResourceExhausted   REPLAY_TOO_LONG
//   Cancelled           the demand's keep_going said so
absl::StatusOr<policies::ReplayFindings> ReplayChange(
    traces::TraceLibrary* traces, const ReplayBounds& bounds,
    const policy::PolicySet& before, const policy::PolicySet& after,
    const policies::ReplayDemand& demand);

// TRACING_OFF, with the fix.
absl::Status NoTraces();

}  // namespace callgate

#endif  // CALLGATE_SERVER_POLICY_REPLAY_H_
