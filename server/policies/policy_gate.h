// What a policy that compiles has to pass before it is put in force: its own
// tests, and, where somebody asks for it, a replay of what was recorded.

#ifndef CALLGATE_SERVER_POLICIES_POLICY_GATE_H_
#define CALLGATE_SERVER_POLICIES_POLICY_GATE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "policy/file/policy_file.h"
#include "policy/file/problem.h"
#include "policy/policy.h"
#include "policy/policy_set.h"

namespace callgate::policies {

// Any problem keeps the policy out, and names what failed. Called for a policy
// that is not in force in this version, on the thread that wants it to be,
// while no other change of policies can happen. Any thread, one at a time.
using PolicyGate = std::function<std::vector<policy::Problem>(
    const policy::LoadedPolicyFile& file,
    const std::shared_ptr<const policy::Policy>& policy)>;

// That a change of policies shall be shown what was recorded, and may change so
// many of the verdicts that were given then.
struct ReplayDemand {
  // Which trace; empty: what all have of the time since.
  std::string trace;
  absl::Duration since;
  uint64_t changed_max = 0;
  // Where nothing was recorded that the change is about, it passes.
  bool may_be_empty = false;
  // Asked now and then; false gives up. May be empty.
  std::function<bool()> keep_going;
};

struct ReplayFindings {
  uint64_t events = 0;
  uint64_t stores = 0;
  // Of the trace, which the change is not about.
  uint64_t stores_left_out = 0;
  uint64_t changed = 0;
  uint64_t uncertain = 0;  // of those
  // Why the change is refused; empty: it is not.
  std::string refusal;
  // The first verdicts that would be others, a line for each: trace, event,
  // both verdicts and the rules that name them.
  std::vector<std::string> changes;
};

// What the replay of a change from `before` to `after`, as a whole, comes to.
// An error keeps the change out as a refusal does: there is no such trace, it
// is damaged, or it is more than is replayed while policies wait. Called as a
// PolicyGate is.
using ReplayGate = std::function<absl::StatusOr<ReplayFindings>(
    const policy::PolicySet& before, const policy::PolicySet& after,
    const ReplayDemand& demand)>;

}  // namespace callgate::policies

#endif  // CALLGATE_SERVER_POLICIES_POLICY_GATE_H_
