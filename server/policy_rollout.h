// Brings a change of policies to the Stores that live.
//
// A Store whose policies are the same as before is left alone. Any other judges
// its next host call by the new ones, and a Store that no policy applies to any
// more refuses further calls, with the reason, until one does. Run returns when
// all Stores have been given theirs, so whoever changes a policy and is told
// that it is in force knows that no Store goes on under the old one for longer
// than the host call that it is in.
//
// What rules remember that no policy has any more is forgotten then, but for
// what Stores still go by.
//
// Any thread. Works out plans for thousands of rules on the caller's time.

#ifndef CALLGATE_SERVER_POLICY_ROLLOUT_H_
#define CALLGATE_SERVER_POLICY_ROLLOUT_H_

#include "policy/state/rule_states.h"
#include "server/metrics/metrics.h"
#include "server/policies/policy_catalogue.h"
#include "server/store_registry.h"

namespace callgate {

class PolicyRollout {
 public:
  // All outlive it.
  PolicyRollout(const policies::PolicyCatalogue& policies,
                StoreRegistry& stores, policy::RuleStates& rule_states,
                metrics::Metrics& metrics)
      : policies_(policies),
        stores_(stores),
        rule_states_(rule_states),
        metrics_(metrics) {}
  PolicyRollout(const PolicyRollout&) = delete;
  PolicyRollout& operator=(const PolicyRollout&) = delete;

  // Every Store.
  void Run();
  // One.
  void Bring(StoreEntry& entry);

 private:
  const policies::PolicyCatalogue& policies_;
  StoreRegistry& stores_;
  policy::RuleStates& rule_states_;
  metrics::Metrics& metrics_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_POLICY_ROLLOUT_H_
