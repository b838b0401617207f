// The policies in force, by name, and which of them a Store is judged by.
//
// Immutable: a change makes a new set and swaps a pointer, so each Store is
// judged by one set as a whole. Any thread.

#ifndef CALLGATE_POLICY_POLICY_SET_H_
#define CALLGATE_POLICY_POLICY_SET_H_

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/policy.h"

namespace callgate::policy {

class PolicySet {
 public:
  using Labels = absl::flat_hash_map<std::string, std::string>;

  // AlreadyExists if two have the same name. Nothing is enforced against
  // `audit_tenants`.
  static absl::StatusOr<std::shared_ptr<const PolicySet>> Make(
      std::vector<std::shared_ptr<const Policy>> policies,
      std::set<std::string> audit_tenants = {});

  // The highest mode of any policy that judges a Store of the tenant.
  Mode CapOf(absl::string_view tenant) const;

  // Null if there is none of that name.
  std::shared_ptr<const Policy> Find(absl::string_view name) const;
  // In the order of their names.
  absl::Span<const std::shared_ptr<const Policy>> policies() const {
    return policies_;
  }

  // This set with `policy` added, or in the place of the one of its name.
  std::shared_ptr<const PolicySet> With(
      std::shared_ptr<const Policy> policy) const;
  // This set without the policy of that name, if there is one.
  std::shared_ptr<const PolicySet> Without(absl::string_view name) const;

  // The policies that together judge a Store: every one whose applies_to
  // matches `tenant` and the labels that operators have put on its module, and
  // the one `requested` by the submitter, which can only tighten what those
  // say. None is above CapOf(tenant).
  //
  // Policies without applies_to are on offer: `requested` chooses one. If none
  // is requested and no other applies, all on offer apply together, so that not
  // choosing is never an advantage.
  //
  // NotFound, with the fix, if that leaves none, or if `requested` is not in
  // the set or is for other tenants: the same sentence for both, so that names
  // of others' policies cannot be probed.
  absl::StatusOr<std::vector<std::shared_ptr<const Policy>>> Select(
      absl::string_view tenant, const Labels& module_labels,
      std::optional<absl::string_view> requested = std::nullopt) const;

 private:
  PolicySet(std::vector<std::shared_ptr<const Policy>> policies,
            std::set<std::string> audit_tenants)
      : policies_(std::move(policies)),
        audit_tenants_(std::move(audit_tenants)) {}

  // Sorted by name.
  const std::vector<std::shared_ptr<const Policy>> policies_;
  const std::set<std::string> audit_tenants_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_POLICY_SET_H_
