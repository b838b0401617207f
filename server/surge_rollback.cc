#include "server/surge_rollback.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace callgate {

SurgeRollback::SurgeRollback(const DenialSurge::Options& options,
                             policies::PolicyCatalogue& policies,
                             events::EventLog& events)
    : policies_(policies), events_(events), denials_(options) {
  for (const auto& policy : policies_.current()->policies()) {
    versions_[policy->name()] = policy->version();
  }
}

void SurgeRollback::NoteSwap(absl::Time now) {
  using storage::PolicyOrigin;
  struct Change {
    std::string policy;
    std::string before;
    PolicyOrigin origin;
  };
  std::vector<Change> changes;
  std::vector<Change> causes;
  std::map<std::string, std::string> versions;
  for (const auto& policy : policies_.current()->policies()) {
    versions[policy->name()] = policy->version();
    const auto before = versions_.find(policy->name());
    if (before == versions_.end() || before->second == policy->version()) {
      continue;
    }
    const auto history = policies_.History(policy->name());
    if (!history.ok() || history->empty()) continue;
    changes.push_back(
        {policy->name(), before->second, history->front().record.origin});
    if (changes.back().origin != PolicyOrigin::kIncluded) {
      causes.push_back(changes.back());
    }
  }
  versions_ = std::move(versions);
  for (const Change& change : changes) {
    // Of several that changed with it nobody knows which it was.
    const Change* cause = &change;
    if (change.origin == PolicyOrigin::kIncluded) {
      cause = causes.size() == 1 ? &causes.front() : nullptr;
    }
    if (cause == nullptr || cause->origin == PolicyOrigin::kRollback ||
        cause->origin == PolicyOrigin::kSurge) {
      denials_.Forget(change.policy);
      continue;
    }
    denials_.NoteChange(change.policy, cause->policy, cause->before, now);
  }
}

void SurgeRollback::Check(absl::Time now) {
  for (const DenialSurge::Surge& surge : denials_.Check(now)) {
    policies::PolicyCatalogue::RollbackRequest request;
    request.name = surge.cause;
    request.version = surge.before;
    request.author.who = "callgated";
    request.author.comment =
        absl::StrCat("policy ", surge.policy, " stopped ", surge.denials,
                     " calls of ", surge.tenants, " tenants within a minute");
    request.surge = true;
    const auto back = policies_.Rollback(request);
    v1::Event event;
    event.set_kind(v1::EVENT_KIND_POLICY);
    event.set_severity(v1::EVENT_SEVERITY_CRITICAL);
    event.set_policy(surge.cause);
    if (!back.ok()) {
      event.set_action("policy_surge_not_undone");
      event.set_message(
          absl::StrCat(request.author.comment, "; ", back.status().message()));
    } else if (!back->check.problems.empty()) {
      event.set_action("policy_surge_not_undone");
      event.set_message(absl::StrCat(request.author.comment, "; ",
                                     back->check.problems.front().ToString()));
    } else {
      event.set_action("policy_surge_undone");
      event.set_policy_version(back->policy.version);
      event.set_message(absl::StrCat(request.author.comment,
                                     "; the version before is in force"));
    }
    events_.Publish(std::move(event));
  }
}

}  // namespace callgate
