// Which policies judge a Store: what is chosen when it is made, and what that
// comes to among the policies in force, then and whenever those change.
//
// Pure functions; any thread.

#ifndef CALLGATE_SERVER_POLICY_CHOICE_H_
#define CALLGATE_SERVER_POLICY_CHOICE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/policy.h"
#include "policy/policy_set.h"

namespace callgate {

using PolicyList = std::vector<std::shared_ptr<const policy::Policy>>;

// What its submitter asks for; it can only tighten. Not both.
struct PolicyChoice {
  std::optional<std::string> requested;
  // One that came with the request.
  std::shared_ptr<const policy::Policy> inline_policy;
};

// The policies that judge a Store of `tenant` and of a module with these
// labels. FailedPrecondition NO_POLICY, POLICY_NOT_FOUND.
absl::StatusOr<PolicyList> SelectPolicies(
    const policy::PolicySet& set, const std::string& tenant,
    const std::map<std::string, std::string>& module_labels,
    const PolicyChoice& choice);

// A policy that stops every host call: what judges a Store that no policy
// applies to any more.
std::shared_ptr<const policy::Policy> NoPolicyLeft();

}  // namespace callgate

#endif  // CALLGATE_SERVER_POLICY_CHOICE_H_
