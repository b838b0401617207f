// What the metrics page says of the policies in force that changes by itself:
// exceptions that end, and what rules remember.
//
// Refresh is called by one thread at a time. All outlive it.

#ifndef CALLGATE_SERVER_POLICY_GAUGES_H_
#define CALLGATE_SERVER_POLICY_GAUGES_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "policy/policy_set.h"
#include "policy/state/rule_states.h"
#include "server/metrics/metrics.h"

namespace callgate {

class PolicyGauges {
 public:
  // An exception that ends within this time is worth a look.
  static constexpr absl::Duration kExpiringWithin = absl::Hours(14 * 24);

  explicit PolicyGauges(metrics::Metrics& metrics) : metrics_(metrics) {}
  PolicyGauges(const PolicyGauges&) = delete;
  PolicyGauges& operator=(const PolicyGauges&) = delete;

  void Refresh(const policy::PolicySet& policies, absl::Time now);
  void Refresh(const policy::RuleStates& states);

 private:
  metrics::Metrics& metrics_;
  // What has been counted of each rule that forgot something.
  std::map<std::pair<std::string, std::string>, uint64_t> evictions_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_POLICY_GAUGES_H_
