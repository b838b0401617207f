#include "server/policy_choice.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/compiler/policy_compiler.h"
#include "runtime/check.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

// As PolicySet::Select treats a requested policy, for one that is in no set.
// Whoever may talk to the daemon now may also apply policies, so a policy that
// comes with the request counts as one on offer.
absl::StatusOr<PolicyList> SelectWithInline(
    const policy::PolicySet& set, const std::string& tenant,
    const policy::PolicySet::Labels& labels,
    std::shared_ptr<const policy::Policy> inline_policy) {
  PolicyList selected;
  for (const auto& policy : set.policies()) {
    if (policy->AppliesTo(tenant, labels)) selected.push_back(policy);
  }
  const bool fits = inline_policy->applies_to().on_offer_only ||
                    inline_policy->AppliesTo(tenant, labels) ||
                    (inline_policy->OfferedTo(tenant) && !selected.empty());
  if (!fits) {
    return ErrorWithReason(
        absl::StatusCode::kFailedPrecondition, reason::kNoPolicy,
        absl::StrCat("policy \"", inline_policy->name(),
                     "\" does not apply to tenant \"", tenant,
                     "\" and this module's labels; change its applies_to or "
                     "leave it out"));
  }
  const bool in_force = std::any_of(
      selected.begin(), selected.end(), [&inline_policy](const auto& policy) {
        return policy->name() == inline_policy->name() &&
               policy->version() == inline_policy->version();
      });
  if (!in_force) selected.push_back(std::move(inline_policy));
  for (auto& policy : selected) {
    policy = policy::CappedAt(std::move(policy), set.CapOf(tenant));
  }
  return selected;
}

}  // namespace

absl::StatusOr<PolicyList> SelectPolicies(
    const policy::PolicySet& set, const std::string& tenant,
    const std::map<std::string, std::string>& module_labels,
    const PolicyChoice& choice) {
  const policy::PolicySet::Labels labels(module_labels.begin(),
                                         module_labels.end());
  if (choice.inline_policy != nullptr) {
    return SelectWithInline(set, tenant, labels, choice.inline_policy);
  }
  std::optional<absl::string_view> requested;
  if (choice.requested.has_value()) requested = *choice.requested;
  absl::StatusOr<PolicyList> selected = set.Select(tenant, labels, requested);
  if (absl::IsNotFound(selected.status())) {
    return ErrorWithReason(
        absl::StatusCode::kFailedPrecondition,
        requested.has_value() ? reason::kPolicyNotFound : reason::kNoPolicy,
        selected.status().message());
  }
  return selected;
}

std::shared_ptr<const policy::Policy> NoPolicyLeft() {
  static const std::shared_ptr<const policy::Policy>* const policy = [] {
    policy::CompileResult compiled = policy::CompilePolicyText(
        "api_version: callgate.policy/v1\n"
        "kind: Policy\n"
        "metadata:\n"
        "  name: no-policy-applies-any-more\n"
        "  description: Stops Stores that no policy applies to any more.\n"
        "defaults: { unlisted_import: trap }\n",
        "no-policy-applies-any-more.yaml");
    CALLGATE_CHECK(compiled.ok(), "the daemon's own policy compiles");
    return new std::shared_ptr<const policy::Policy>(compiled.policy);
  }();
  return *policy;
}

}  // namespace callgate
