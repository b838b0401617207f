#include "server/policy_rollout.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/policy_choice.h"

namespace callgate {

void PolicyRollout::Run() {
  for (const std::shared_ptr<StoreEntry>& entry : stores_.Live()) {
    Bring(*entry);
  }
  std::vector<std::string> digests;
  for (const auto& policy : policies_.current()->policies()) {
    for (const policy::StateShape* shape : policy->StateShapes()) {
      digests.push_back(shape->digest);
    }
  }
  rule_states_.KeepOnly(digests);
}

void PolicyRollout::Bring(StoreEntry& entry) {
  // Who looks last at what is in force also gives last.
  const absl::MutexLock lock(&entry.policies_mutex());
  const std::shared_ptr<Session> session = entry.session();
  if (session == nullptr) return;
  const StoreEntry::Facts& facts = entry.facts();
  const absl::StatusOr<PolicyList> selected = SelectPolicies(
      *policies_.current(), facts.tenant, facts.module_labels, facts.choice);
  const std::vector<std::string> before = session->policy_names();
  if (!selected.ok()) {
    const std::shared_ptr<const policy::Policy> stand_in = NoPolicyLeft();
    session->RefuseForWantOfPolicy(selected.status(), stand_in);
    if (session->policy_names() == before) return;
    metrics_.CountPolicyStoreUpdate("none_left");
    entry.PublishLifecycle("store_without_policy", v1::EVENT_SEVERITY_WARNING,
                           selected.status().message());
    return;
  }
  std::vector<std::string> after;
  for (const auto& policy : *selected) {
    after.push_back(
        absl::StrCat(policy->name(), "@", policy->short_version(),
                     policy->mode() == policy::Mode::kAudit ? " (audit)" : ""));
  }
  if (session->IsJudgedBy(*selected)) return;
  const std::vector<policy::Problem> problems =
      session->ReplacePolicies(*selected);
  if (!problems.empty()) {
    metrics_.CountPolicyStoreUpdate("unfit");
    entry.PublishLifecycle(
        "store_policies_unfit", v1::EVENT_SEVERITY_ERROR,
        absl::StrCat("the policies in force now cannot judge all calls of this "
                     "module, so those are stopped: ",
                     problems.front().ToString()));
    return;
  }
  metrics_.CountPolicyStoreUpdate("replaced");
  entry.PublishLifecycle("store_policies_replaced", v1::EVENT_SEVERITY_INFO,
                         absl::StrJoin(after, ", "));
}

}  // namespace callgate
