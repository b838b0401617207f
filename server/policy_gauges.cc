#include "server/policy_gauges.h"

#include <vector>

namespace callgate {

void PolicyGauges::Refresh(const policy::PolicySet& policies, absl::Time now) {
  std::vector<metrics::Metrics::PolicyExceptions> all;
  for (const auto& policy : policies.policies()) {
    metrics::Metrics::PolicyExceptions of_policy;
    of_policy.policy = policy->name();
    bool any = false;
    for (const policy::Rule& rule : policy->rules()) {
      for (const policy::RuleException& exception : rule.exceptions) {
        any = true;
        if (exception.expires <= now) {
          ++of_policy.expired;
        } else if (exception.expires <= now + kExpiringWithin) {
          ++of_policy.expiring;
        }
      }
    }
    if (any) all.push_back(std::move(of_policy));
  }
  metrics_.SetPolicyExceptions(all);
}

void PolicyGauges::Refresh(const policy::RuleStates& states) {
  std::vector<metrics::Metrics::RuleStateUse> uses;
  std::map<std::pair<std::string, std::string>, uint64_t> evictions;
  // A rule that has changed is there twice while the old one is in use.
  std::map<std::pair<std::string, std::string>, uint64_t> bytes;
  for (const policy::RuleStates::Use& use : states.Uses()) {
    bytes[{use.policy, use.rule}] += use.bytes;
    evictions[{use.policy, use.rule}] += use.lost;
  }
  for (const auto& [rule, size] : bytes) {
    uses.push_back({rule.first, rule.second, size});
  }
  metrics_.SetRuleStates(uses);
  for (const auto& [rule, count] : evictions) {
    const auto known = evictions_.find(rule);
    const uint64_t before = known == evictions_.end() ? 0 : known->second;
    if (count > before) {
      metrics_.CountRuleEvictions(rule.first, rule.second, count - before);
    }
  }
  evictions_ = std::move(evictions);
}

}  // namespace callgate
