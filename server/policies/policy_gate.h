// What a policy that compiles has to pass before it is put in force: its own
// tests, a replay of what was recorded.

#ifndef CALLGATE_SERVER_POLICIES_POLICY_GATE_H_
#define CALLGATE_SERVER_POLICIES_POLICY_GATE_H_

#include <functional>
#include <memory>
#include <vector>

#include "policy/file/policy_file.h"
#include "policy/file/problem.h"
#include "policy/policy.h"

namespace callgate::policies {

// Any problem keeps the policy out, and names what failed. Called for a policy
// that is not in force in this version, on the thread that wants it to be,
// while no other change of policies can happen. Any thread, one at a time.
using PolicyGate = std::function<std::vector<policy::Problem>(
    const policy::LoadedPolicyFile& file,
    const std::shared_ptr<const policy::Policy>& policy)>;

}  // namespace callgate::policies

#endif  // CALLGATE_SERVER_POLICIES_POLICY_GATE_H_
