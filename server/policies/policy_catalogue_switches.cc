// What is done to policies beside changing their texts: taking them out of
// force and back, and lowering what is enforced of them.

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "policy/file/policy_file.h"
#include "server/error_reason.h"
#include "server/policies/catalogue_words.h"
#include "server/policies/policy_catalogue.h"

namespace callgate::policies {
namespace {

// Of the names that a message lists.
constexpr size_t kNamesShownMax = 10;

std::string Listed(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kNamesShownMax);
  return absl::StrCat(
      absl::StrJoin(names.begin(),
                    names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
      names.size() > shown
          ? absl::StrCat(" and ", names.size() - shown, " more")
          : "");
}

absl::Status InUse(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                         reason::kPolicyInUse, message);
}

absl::Status NotOurs(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                         reason::kPolicyFromDirectory, message);
}

// A policy that is kept and not in force.
PolicyView InactiveView(const storage::PolicyRecord& record,
                        const storage::PolicySwitchRecord& said) {
  PolicyView view;
  view.name = record.name;
  view.version = record.version;
  view.origin = Origin::kApplied;
  view.source = record.source;
  view.since = said.since;
  view.inactive = true;
  view.load_mode = std::string(policy::ModeName(
      said.loaded_in_audit ? policy::Mode::kAudit : policy::Mode::kEnforce));
  view.runtime_mode = std::string(policy::ModeName(
      said.audit ? policy::Mode::kAudit : policy::Mode::kEnforce));
  const policy::LoadResult loaded = policy::LoadPolicy(
      record.source, absl::StrCat(record.name, SuffixOf(record.encoding)));
  if (loaded.ok()) {
    view.description = loaded.file->proto.metadata().description();
  }
  return view;
}

}  // namespace

storage::PolicySwitchRecord& PolicyCatalogue::SwitchOf(const std::string& name,
                                                       const Author& author,
                                                       Switches* switches) {
  storage::PolicySwitchRecord& record = (*switches)[name];
  record.name = name;
  record.since = absl::Now();
  record.author = author.who;
  record.comment = author.comment;
  return record;
}

std::vector<storage::PolicySwitchRecord> PolicyCatalogue::ToRecords(
    const Switches& switches) {
  std::vector<storage::PolicySwitchRecord> records;
  for (const auto& [name, record] : switches) {
    if (record.inactive || record.loaded_in_audit || record.audit) {
      records.push_back(record);
    }
  }
  return records;
}

void PolicyCatalogue::SetModes(PolicyMap* policies) const {
  for (auto& [name, compiled] : *policies) {
    const auto said = switches_.find(name);
    const bool known = said != switches_.end();
    const bool loaded_in_audit = known && said->second.loaded_in_audit;
    compiled.load_mode = compiled.loaded->origin == Origin::kDirectory
                             ? options_.directory_mode
                         : loaded_in_audit ? policy::Mode::kAudit
                                           : policy::Mode::kEnforce;
    compiled.runtime_mode = known && said->second.audit
                                ? policy::Mode::kAudit
                                : policy::Mode::kEnforce;
  }
}

std::shared_ptr<const std::map<std::string, PolicyView, std::less<>>>
PolicyCatalogue::inactive() const {
  absl::MutexLock lock(&mu_);
  return inactive_;
}

void PolicyCatalogue::SetInactive(
    const std::vector<storage::PolicyRecord>& records) {
  std::map<std::string, PolicyView, std::less<>> views = *inactive();
  for (const storage::PolicyRecord& record : records) {
    const auto said = switches_.find(record.name);
    if (said == switches_.end() || !said->second.inactive) continue;
    views.insert_or_assign(record.name, InactiveView(record, said->second));
  }
  for (auto view = views.begin(); view != views.end();) {
    const auto said = switches_.find(view->first);
    view = said == switches_.end() || !said->second.inactive ? views.erase(view)
                                                             : std::next(view);
  }
  auto shared =
      std::make_shared<const std::map<std::string, PolicyView, std::less<>>>(
          std::move(views));
  absl::MutexLock lock(&mu_);
  inactive_ = std::move(shared);
}

absl::Status PolicyCatalogue::MayGo(const SwitchRequest& request,
                                    const PolicyMap& policies,
                                    std::vector<std::string>* stores) const {
  const auto found = policies.find(request.name);
  if (found == policies.end()) {
    if (built_in_.count(request.name) != 0) {
      return NotOurs(absl::StrCat("the policy ", Quoted(request.name),
                                  " comes with the daemon, and is in force "
                                  "only where others include it"));
    }
    return NoSuchPolicy(request.name);
  }
  if (found->second.loaded->origin == Origin::kDirectory) {
    return NotOurs(absl::StrCat("the policy ", Quoted(request.name),
                                " comes from the file ",
                                Quoted(found->second.loaded->file_name),
                                " in the policy directory; remove the file"));
  }
  const std::vector<std::string> others = DependentsOf(request.name, policies);
  if (!others.empty()) {
    return InUse(absl::StrCat("the policy ", Quoted(request.name),
                              " is included by ", Listed(others),
                              "; change those first"));
  }
  if (options_.stores_of) *stores = options_.stores_of(request.name);
  if (!stores->empty() && !request.force) {
    return InUse(absl::StrCat(
        "the policy ", Quoted(request.name), " judges ", stores->size(),
        stores->size() == 1 ? " Store that lives: " : " Stores that live: ",
        Listed(*stores), "; kill them, or take it from them by force"));
  }
  return absl::OkStatus();
}

absl::Status PolicyCatalogue::TakeOut(const SwitchRequest& request,
                                      storage::PolicyCommit commit,
                                      Switches switches) {
  commit.switches = ToRecords(switches);
  const absl::Status stored = CommitWithOwed(std::move(commit));
  if (!stored.ok()) return stored;
  switches_ = std::move(switches);
  PolicyMap after = *policies();
  after.erase(request.name);
  refused_.erase({Origin::kApplied, request.name});
  Swap(std::move(after),
       absl::StrCat(": taken out by ", request.author.who,
                    request.author.comment.empty() ? "" : ": ",
                    request.author.comment));
  metrics_.CountPolicyReload(refused_.empty(), absl::Now());
  return absl::OkStatus();
}

absl::StatusOr<PolicyCatalogue::SwitchResult> PolicyCatalogue::Delete(
    const SwitchRequest& request) {
  absl::MutexLock lock(&changing_);
  const std::shared_ptr<const PolicyMap> before = policies();
  SwitchResult result;
  const auto kept = inactive();
  const auto not_in_force = kept->find(request.name);
  const auto in_force = before->find(request.name);
  // A file may have the name of one that is not in force.
  const bool is_inactive =
      not_in_force != kept->end() && in_force == before->end();
  if (is_inactive) {
    result.policy = not_in_force->second;
  } else {
    const absl::Status may = MayGo(request, *before, &result.stores);
    if (!may.ok()) return may;
    const absl::Status expected =
        CheckEtag(request.name, request.etag, *before);
    if (!expected.ok()) return expected;
    result.policy = ViewOf(in_force->second, true);
  }
  storage::PolicyCommit commit;
  commit.deleted.push_back(request.name);
  Switches switches = switches_;
  switches.erase(request.name);
  const absl::Status gone =
      TakeOut(request, std::move(commit), std::move(switches));
  if (!gone.ok()) return gone;
  SetInactive({});
  return result;
}

absl::StatusOr<PolicyCatalogue::SwitchResult> PolicyCatalogue::SetActive(
    const SwitchRequest& request, bool active) {
  absl::MutexLock lock(&changing_);
  const std::shared_ptr<const PolicyMap> before = policies();
  const auto kept = inactive();
  const auto in_force = before->find(request.name);
  const auto not_in_force = kept->find(request.name);
  SwitchResult result;
  if (active ? in_force != before->end() : not_in_force != kept->end()) {
    result.unchanged = true;
    result.policy =
        active ? ViewOf(in_force->second, true) : not_in_force->second;
    return result;
  }
  Switches switches = switches_;
  if (!active) {
    const absl::Status may = MayGo(request, *before, &result.stores);
    if (!may.ok()) return may;
    const absl::Status expected =
        CheckEtag(request.name, request.etag, *before);
    if (!expected.ok()) return expected;
    SwitchOf(request.name, request.author, &switches).inactive = true;
    const absl::StatusOr<std::vector<storage::PolicyRecord>> records =
        catalogue_.ListPolicies();
    if (!records.ok()) return records.status();
    const absl::Status out = TakeOut(request, {}, std::move(switches));
    if (!out.ok()) return out;
    SetInactive(*records);
    result.policy = inactive()->find(request.name)->second;
    return result;
  }
  if (not_in_force == kept->end()) return NoSuchPolicy(request.name);
  const absl::StatusOr<std::vector<storage::PolicyRecord>> records =
      catalogue_.ListPolicies();
  if (!records.ok()) return records.status();
  for (const storage::PolicyRecord& record : *records) {
    if (record.name != request.name) continue;
    Examined examined = Examine(
        record.source, absl::StrCat(record.name, SuffixOf(record.encoding)),
        *before, {});
    result.check = examined.check;
    if (!result.check.problems.empty()) return result;
    const auto said = switches_.find(request.name);
    const policy::Mode load_mode =
        said != switches_.end() && said->second.loaded_in_audit
            ? policy::Mode::kAudit
            : policy::Mode::kEnforce;
    const absl::Status stored =
        Store(examined, record.encoding,
              {request.name, storage::PolicyOrigin::kApplied, request.author},
              load_mode);
    if (!stored.ok()) return stored;
    result.policy = ViewOf(policies()->find(request.name)->second, true);
    return result;
  }
  return NoSuchPolicy(request.name);
}

absl::StatusOr<PolicyCatalogue::SwitchResult> PolicyCatalogue::SetMode(
    const SwitchRequest& request, policy::Mode mode) {
  absl::MutexLock lock(&changing_);
  const std::shared_ptr<const PolicyMap> before = policies();
  const auto found = before->find(request.name);
  if (found == before->end()) {
    if (inactive()->count(request.name) != 0) {
      return absl::Status(absl::StatusCode::kNotFound,
                          absl::StrCat("the policy ", Quoted(request.name),
                                       " is not in force; activate it first"));
    }
    return NoSuchPolicy(request.name);
  }
  const absl::Status expected = CheckEtag(request.name, request.etag, *before);
  if (!expected.ok()) return expected;
  SwitchResult result;
  result.unchanged = found->second.runtime_mode == mode;
  if (!result.unchanged) {
    Switches switches = switches_;
    SwitchOf(request.name, request.author, &switches).audit =
        mode == policy::Mode::kAudit;
    storage::PolicyCommit commit;
    commit.switches = ToRecords(switches);
    const absl::Status stored = CommitWithOwed(std::move(commit));
    if (!stored.ok()) return stored;
    switches_ = std::move(switches);
    Swap(*before);
  }
  result.policy = ViewOf(policies()->find(request.name)->second, true);
  return result;
}

}  // namespace callgate::policies
