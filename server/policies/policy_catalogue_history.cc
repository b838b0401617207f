#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/error_reason.h"
#include "server/policies/catalogue_words.h"
#include "server/policies/policy_catalogue.h"
#include "server/policies/version_name.h"

namespace callgate::policies {
namespace {

absl::Status VersionNotFound(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kNotFound,
                         reason::kPolicyVersionNotFound, message);
}

}  // namespace

std::vector<storage::PolicyVersionRecord> PolicyCatalogue::NewVersions(
    const PolicyMap& after, const Change& change) const {
  const std::shared_ptr<const PolicyMap> before = policies();
  std::vector<storage::PolicyVersionRecord> versions;
  for (const auto& [name, compiled] : after) {
    const auto found = before->find(name);
    const bool was_there = found != before->end();
    if (was_there &&
        found->second.policy->version() == compiled.policy->version()) {
      continue;
    }
    if (!was_there) {
      // At start it may be what was in force when the last daemon ended.
      const auto history = catalogue_.ListPolicyVersions(name);
      if (history.ok() && !history->empty() &&
          history->front().version == compiled.policy->version()) {
        continue;
      }
    }
    const LoadedPolicy& loaded = *compiled.loaded;
    storage::PolicyVersionRecord& version = versions.emplace_back();
    version.name = name;
    version.version = compiled.policy->version();
    version.encoding = EncodingOf(loaded.file.filename);
    version.source = loaded.source;
    version.since = absl::Now();
    version.file_name = loaded.file_name;
    if (name == change.name) {
      version.origin = change.origin;
    } else if (was_there && found->second.loaded->source == loaded.source) {
      version.origin = storage::PolicyOrigin::kIncluded;
    } else {
      version.origin = loaded.origin == Origin::kDirectory
                           ? storage::PolicyOrigin::kFile
                           : storage::PolicyOrigin::kApplied;
    }
    version.author = change.author.who;
    version.comment = name == change.name ? change.author.comment : "";
  }
  return versions;
}

absl::StatusOr<std::vector<PolicyCatalogue::HistoryEntry>>
PolicyCatalogue::History(absl::string_view name) const {
  absl::StatusOr<std::vector<storage::PolicyVersionRecord>> versions =
      catalogue_.ListPolicyVersions(name);
  if (!versions.ok()) return versions.status();
  const std::shared_ptr<const PolicyMap> now = policies();
  const auto in_force = now->find(name);
  if (versions->empty() && in_force == now->end()) return NoSuchPolicy(name);
  std::vector<HistoryEntry> history;
  bool marked = false;
  for (storage::PolicyVersionRecord& version : *versions) {
    HistoryEntry& entry = history.emplace_back();
    entry.record = std::move(version);
    // The newest of this digest: an earlier one with it is over.
    entry.in_force = !marked && in_force != now->end() &&
                     in_force->second.policy->version() == entry.record.version;
    marked = marked || entry.in_force;
  }
  return history;
}

absl::StatusOr<storage::PolicyVersionRecord> PolicyCatalogue::GetVersion(
    absl::string_view name, absl::string_view version) const {
  const absl::StatusOr<std::vector<storage::PolicyVersionRecord>> versions =
      catalogue_.ListPolicyVersions(name);
  if (!versions.ok()) return versions.status();
  if (versions->empty() && policies()->count(name) == 0) {
    return NoSuchPolicy(name);
  }
  const absl::StatusOr<uint64_t> number = FindVersion(version, name, *versions);
  if (absl::IsNotFound(number.status())) {
    return VersionNotFound(number.status().message());
  }
  if (!number.ok()) {
    return WithReason(number.status(), reason::kBadArgument);
  }
  return catalogue_.GetPolicyVersion(name, *number);
}

absl::StatusOr<storage::PolicyVersionRecord> PolicyCatalogue::FindTarget(
    const RollbackRequest& request, absl::string_view source_in_force) const {
  if (!request.version.empty()) {
    return GetVersion(request.name, request.version);
  }
  const absl::StatusOr<std::vector<storage::PolicyVersionRecord>> versions =
      catalogue_.ListPolicyVersions(request.name);
  if (!versions.ok()) return versions.status();
  for (const storage::PolicyVersionRecord& version : *versions) {
    absl::StatusOr<storage::PolicyVersionRecord> whole =
        catalogue_.GetPolicyVersion(request.name, version.number);
    if (!whole.ok()) return whole.status();
    if (whole->source != source_in_force) return whole;
  }
  return VersionNotFound(absl::StrCat("the policy ", Quoted(request.name),
                                      " has no earlier text in its history to "
                                      "go back to"));
}

absl::StatusOr<PolicyCatalogue::ApplyResult> PolicyCatalogue::Rollback(
    const RollbackRequest& request) {
  absl::MutexLock lock(&changing_);
  const std::shared_ptr<const PolicyMap> before = policies();
  const auto found = before->find(request.name);
  const bool is_there = found != before->end();
  const std::shared_ptr<const LoadedPolicy> in_force =
      is_there ? found->second.loaded : nullptr;
  if (!is_there) {
    // One that was applied and is not in force any more can be brought back; a
    // file that is gone cannot.
    const auto versions = catalogue_.ListPolicyVersions(request.name);
    if (!versions.ok()) return versions.status();
    if (versions->empty() || !versions->front().file_name.empty()) {
      return NoSuchPolicy(request.name);
    }
  }
  const absl::Status expected = CheckEtag(request.name, request.etag, *before);
  if (!expected.ok()) return expected;
  const absl::StatusOr<storage::PolicyVersionRecord> target =
      FindTarget(request, is_there ? in_force->source : "");
  if (!target.ok()) return target.status();

  const bool from_directory =
      is_there && in_force->origin == Origin::kDirectory;
  Place place;
  std::string file_name =
      absl::StrCat(request.name, SuffixOf(target->encoding));
  if (from_directory) {
    place.origin = Origin::kDirectory;
    place.file_name = in_force->file_name;
    place.held_back = true;
    const auto hold = holds_.find(request.name);
    // Going back to what the file says lifts the hold.
    if (hold != holds_.end() &&
        hold->second.held == storage::DigestOf(target->source)) {
      place.held_back = false;
    }
    file_name = absl::StrCat(options_.directory, "/", in_force->file_name);
    if (EncodingOf(file_name) != target->encoding) {
      return VersionNotFound(
          absl::StrCat("version ", target->number, " of the policy ",
                       Quoted(request.name), " is not in the format of ",
                       Quoted(in_force->file_name), "; change the file"));
    }
  }
  Examined examined = Examine(target->source, file_name, *before, place);
  ApplyResult result;
  result.check = examined.check;
  if (!result.check.problems.empty()) return result;
  if (is_there && found->second.policy->version() == result.check.version) {
    result.unchanged = true;
    result.policy = ViewOf(found->second, true);
    return result;
  }
  if (is_there) {
    CompiledPolicy& back = examined.changed.find(request.name)->second;
    back.load_mode = found->second.load_mode;
    back.runtime_mode = found->second.runtime_mode;
  }
  result.policy = ViewOf(examined.changed.find(request.name)->second, true);
  if (request.validate_only) return result;

  Change change;
  change.name = request.name;
  change.origin = request.surge ? storage::PolicyOrigin::kSurge
                                : storage::PolicyOrigin::kRollback;
  change.author = request.author;
  change.author.comment = absl::StrCat(
      "back to version ", target->number,
      request.author.comment.empty() ? "" : ": ", request.author.comment);
  const absl::Status stored =
      from_directory
          ? HoldBack(examined, *in_force, change)
          : Store(examined, target->encoding, change,
                  is_there ? found->second.load_mode : policy::Mode::kEnforce);
  if (!stored.ok()) return stored;
  metrics_.CountPolicyRollback(request.surge ? "surge" : "operator");
  return result;
}

absl::Status PolicyCatalogue::HoldBack(const Examined& examined,
                                       const LoadedPolicy& in_force,
                                       const Change& change) {
  PolicyMap after = *policies();
  const std::string held_version =
      after.find(change.name)->second.policy->version();
  for (const auto& [changed_name, changed] : examined.changed) {
    after.insert_or_assign(changed_name, changed);
  }
  Holds holds = holds_;
  const LoadedPolicy& earlier = *after.find(change.name)->second.loaded;
  if (earlier.held_back) {
    // Where one is held already, it is still the file that is.
    const auto [hold, is_new] = holds.try_emplace(change.name);
    if (is_new) {
      hold->second.name = change.name;
      hold->second.held = storage::DigestOf(in_force.source);
      hold->second.held_version = held_version;
    }
    hold->second.since = absl::Now();
    hold->second.author = change.author.who;
    hold->second.comment = change.author.comment;
  } else {
    holds.erase(change.name);
  }

  storage::PolicyCommit commit;
  commit.versions = NewVersions(after, change);
  commit.holds.emplace();
  for (const auto& [name, hold] : holds) commit.holds->push_back(hold);
  commit.files.emplace();
  std::map<std::string, storage::Digest> texts;
  for (const auto& [name, compiled] : after) {
    const LoadedPolicy& loaded = *compiled.loaded;
    if (loaded.origin != Origin::kDirectory) continue;
    texts.emplace(loaded.file_name, storage::DigestOf(loaded.source));
    commit.files->push_back({loaded.file_name, loaded.source, loaded.since});
  }
  const absl::Status stored = CommitWithOwed(std::move(commit));
  if (!stored.ok()) return stored;
  stored_files_ = std::move(texts);
  holds_ = std::move(holds);

  const auto hold = holds_.find(change.name);
  if (hold != holds_.end()) {
    refused_.emplace(Origin::kDirectory, earlier.file_name);
    ReportHold(hold->second);
  } else {
    refused_.erase({Origin::kDirectory, earlier.file_name});
  }
  Swap(std::move(after));
  metrics_.CountPolicyReload(refused_.empty(), absl::Now());
  return absl::OkStatus();
}

}  // namespace callgate::policies
