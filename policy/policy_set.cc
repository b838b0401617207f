#include "policy/policy_set.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

using PolicyRef = std::shared_ptr<const Policy>;

bool ByName(const PolicyRef& a, const PolicyRef& b) {
  return a->name() < b->name();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const PolicySet>> PolicySet::Make(
    std::vector<PolicyRef> policies, std::set<std::string> audit_tenants) {
  std::sort(policies.begin(), policies.end(), ByName);
  const auto twice = std::adjacent_find(
      policies.begin(), policies.end(),
      [](const auto& a, const auto& b) { return a->name() == b->name(); });
  if (twice != policies.end()) {
    return absl::AlreadyExistsError(absl::StrCat(
        "two policies are called ", Quote((*twice)->name()), ": ",
        EscapeText((*twice)->filename()), " and ",
        EscapeText((*std::next(twice))->filename()), "; rename one"));
  }
  return std::shared_ptr<const PolicySet>(
      new PolicySet(std::move(policies), std::move(audit_tenants)));
}

Mode PolicySet::CapOf(absl::string_view tenant) const {
  return audit_tenants_.count(std::string(tenant)) != 0 ? Mode::kAudit
                                                        : Mode::kEnforce;
}

PolicyRef PolicySet::Find(absl::string_view name) const {
  const auto found = std::lower_bound(
      policies_.begin(), policies_.end(), name,
      [](const PolicyRef& p, absl::string_view n) { return p->name() < n; });
  if (found == policies_.end() || (*found)->name() != name) return nullptr;
  return *found;
}

std::shared_ptr<const PolicySet> PolicySet::With(PolicyRef policy) const {
  CALLGATE_CHECK(policy != nullptr, "a set has policies only");
  std::vector<PolicyRef> policies;
  for (const PolicyRef& p : policies_) {
    if (p->name() != policy->name()) policies.push_back(p);
  }
  policies.insert(
      std::upper_bound(policies.begin(), policies.end(), policy, ByName),
      policy);
  return std::shared_ptr<const PolicySet>(
      new PolicySet(std::move(policies), audit_tenants_));
}

std::shared_ptr<const PolicySet> PolicySet::Without(
    absl::string_view name) const {
  std::vector<PolicyRef> policies;
  for (const PolicyRef& p : policies_) {
    if (p->name() != name) policies.push_back(p);
  }
  return std::shared_ptr<const PolicySet>(
      new PolicySet(std::move(policies), audit_tenants_));
}

absl::StatusOr<std::vector<PolicyRef>> PolicySet::Select(
    absl::string_view tenant, const Labels& module_labels,
    std::optional<absl::string_view> requested) const {
  std::vector<PolicyRef> selected;
  for (const PolicyRef& policy : policies_) {
    if (policy->AppliesTo(tenant, module_labels)) selected.push_back(policy);
  }
  if (requested) {
    PolicyRef policy = Find(*requested);
    if (policy == nullptr || !policy->OfferedTo(tenant)) {
      return absl::NotFoundError(absl::StrCat(
          "no policy ", Quote(*requested), " for tenant ", Quote(tenant),
          "; apply one of that name whose applies_to includes the tenant"));
    }
    if (policy->applies_to().on_offer_only) {
      selected.push_back(std::move(policy));
    } else if (std::find(selected.begin(), selected.end(), policy) ==
                   selected.end() &&
               !selected.empty()) {
      // Its module labels do not match: it can still tighten.
      selected.push_back(std::move(policy));
    }
  } else if (selected.empty()) {
    for (const PolicyRef& policy : policies_) {
      if (policy->applies_to().on_offer_only) selected.push_back(policy);
    }
  }
  if (!selected.empty()) {
    const Mode cap = CapOf(tenant);
    for (PolicyRef& policy : selected) {
      policy = CappedAt(std::move(policy), cap);
    }
    return selected;
  }
  std::vector<std::string> labels;
  for (const auto& [name, value] : module_labels) {
    labels.push_back(absl::StrCat(Quote(name), "=", Quote(value)));
  }
  std::sort(labels.begin(), labels.end());
  return absl::NotFoundError(absl::StrCat(
      "no policy applies to tenant ", Quote(tenant), " and a module ",
      labels.empty() ? std::string("without labels")
                     : absl::StrCat("labelled ", absl::StrJoin(labels, ", ")),
      ", and without a policy nothing runs; apply one with `applies_to: { "
      "tenants: [",
      Quote(tenant), "] }`"));
}

}  // namespace callgate::policy
