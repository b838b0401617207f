#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "policy/file/policy_file.h"
#include "server/policies/catalogue_words.h"
#include "server/policies/policy_catalogue.h"
#include "server/policies/policy_directory.h"

namespace callgate::policies {
namespace {

// The applied policies that the catalogue has, as far as they still have the
// right form and `taken` leaves them their names.
std::vector<std::shared_ptr<const LoadedPolicy>> LoadApplied(
    const std::vector<storage::PolicyRecord>& records,
    const std::set<std::string>& taken, std::vector<Refusal>& refusals,
    std::vector<std::string>& waiting) {
  std::vector<std::shared_ptr<const LoadedPolicy>> loaded;
  for (const storage::PolicyRecord& record : records) {
    if (taken.count(record.name) != 0) {
      waiting.push_back(record.name);
      continue;
    }
    policy::LoadResult result = policy::LoadPolicy(
        record.source, absl::StrCat(record.name, SuffixOf(record.encoding)));
    if (result.ok() && result.file->proto.metadata().name() != record.name) {
      result.file.reset();
      result.problems.push_back(
          ProblemOf(record.name, "its text is that of another policy"));
    }
    if (!result.ok()) {
      refusals.push_back(
          {record.name, Origin::kApplied, std::move(result.problems), false});
      continue;
    }
    auto policy = std::make_shared<LoadedPolicy>();
    policy->origin = Origin::kApplied;
    policy->source = record.source;
    policy->since = record.applied;
    policy->file = *std::move(result.file);
    loaded.push_back(std::move(policy));
  }
  return loaded;
}

// Whether what was refused is in force as it was before.
bool IsInForce(const Refusal& refusal, const PolicyMap& policies) {
  return std::any_of(
      policies.begin(), policies.end(), [&refusal](const auto& named) {
        const LoadedPolicy& loaded = *named.second.loaded;
        return loaded.origin == refusal.origin &&
               refusal.subject == (loaded.origin == Origin::kDirectory
                                       ? loaded.file_name
                                       : named.first);
      });
}

}  // namespace

absl::Status PolicyCatalogue::Reload() { return ReloadAndTell().status; }

PolicyCatalogue::ReloadResult PolicyCatalogue::ReloadAndTell() {
  absl::MutexLock lock(&changing_);
  ReloadResult result = LoadAll();
  metrics_.CountPolicyReload(refused_.empty(), absl::Now());
  return result;
}

PolicyCatalogue::ReloadResult PolicyCatalogue::LoadAll() {
  ReloadResult result;
  const absl::StatusOr<std::vector<storage::PolicyRecord>> records =
      catalogue_.ListPolicies();
  result.status = records.status();
  std::vector<PolicyFileText> files;
  if (result.status.ok() && !options_.directory.empty()) {
    absl::StatusOr<std::vector<PolicyFileText>> read =
        ReadPolicyDirectory(options_.directory);
    result.status = read.status();
    if (read.ok()) files = *std::move(read);
  }
  if (!result.status.ok()) return NotRead(result.status);
  absl::StatusOr<PolicyMap> last = PolicyMap();
  if (!loaded_) last = LastInForce();
  if (!last.ok()) return NotRead(last.status());
  faults_.Clear(InternalFault::kPoliciesNotRead, "");

  const std::shared_ptr<const PolicyMap> before = policies();
  const PolicyMap standing = loaded_ ? *before : *std::move(last);
  const Reading reading = LoadFiles(std::move(files), standing, holds_);
  std::vector<Refusal> refusals = reading.refusals;
  std::vector<std::shared_ptr<const LoadedPolicy>> given = reading.loaded;
  std::set<std::string> taken;
  for (const auto& loaded : given) taken.insert(loaded->name());
  std::vector<std::string> waiting;
  std::vector<storage::PolicyRecord> active;
  for (const storage::PolicyRecord& record : *records) {
    const auto said = switches_.find(record.name);
    if (said == switches_.end() || !said->second.inactive) {
      active.push_back(record);
    }
  }
  for (auto& loaded : LoadApplied(active, taken, refusals, waiting)) {
    given.push_back(std::move(loaded));
  }
  const size_t total = given.size() + refusals.size();
  Bundle bundle = BuildBundle(std::move(given), standing, options_.gate);
  for (Refusal& refusal : bundle.refusals) {
    refusals.push_back(std::move(refusal));
  }
  result.refused =
      std::any_of(refusals.begin(), refusals.end(),
                  [&](const Refusal& refusal) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                    return Blocks(refusal, *before, reading);
                  });
  bool stays_as_it_was = result.refused;
  if (!result.refused && options_.directory_replay.has_value()) {
    // For a daemon that starts, what the last one ended with.
    Bundle earlier;
    if (!loaded_) earlier = BundleOf(active, standing);
    SetModes(&earlier.policies);
    SetModes(&bundle.policies);
    std::vector<policy::Problem> problems =
        ReplayDirectory(loaded_ ? *before : earlier.policies, bundle.policies);
    if (!problems.empty()) {
      refusals.push_back(
          {kWholeDirectory, Origin::kDirectory, std::move(problems), true});
      stays_as_it_was = true;
      result.refused = loaded_;
      bundle = std::move(earlier);
    }
  }

  refused_.clear();
  for (Refusal& refusal : refusals) {
    if (result.refused && refusal.subject != kWholeDirectory) {
      refusal.earlier_stays = IsInForce(refusal, *before);
    }
    refused_.emplace(refusal.origin, refusal.subject);
    result.problems.insert(result.problems.end(), refusal.problems.begin(),
                           refusal.problems.end());
    Report(refusal, result.refused);
  }
  if (!result.refused) {
    // Before the swap, so that a daemon that is killed comes back with either.
    Remember(bundle.policies, stays_as_it_was ? Holds(holds_) : reading.holds);
    left_out_.clear();
    for (const Refusal& refusal : refusals) {
      const auto text = reading.texts.find(refusal.subject);
      if (refusal.origin == Origin::kDirectory && text != reading.texts.end()) {
        left_out_.insert(*text);
      }
    }
    Swap(std::move(bundle.policies));
    SetInactive(*records);
    for (const std::string& name : waiting) {
      v1::Event event;
      event.set_kind(v1::EVENT_KIND_POLICY);
      event.set_severity(v1::EVENT_SEVERITY_NOTICE);
      event.set_action("policy_waits");
      event.set_policy(name);
      event.set_message(
          "a file in the policy directory has this applied policy's name; the "
          "file is in force");
      events_.Publish(std::move(event));
    }
  }
  for (const auto& [name, hold] : holds_) {
    const std::shared_ptr<const PolicyMap> now = policies();
    const auto held = now->find(name);
    if (held == now->end()) continue;
    refused_.emplace(Origin::kDirectory, held->second.loaded->file_name);
    result.problems.push_back(ProblemOf(
        absl::StrCat(options_.directory, "/", held->second.loaded->file_name),
        "held back: somebody went back to an earlier version; change the file "
        "to lift that"));
    if (!loaded_) ReportHold(hold);
  }
  loaded_ = true;
  if (result.problems.empty()) return result;
  result.status = absl::InvalidArgumentError(
      absl::StrCat(refused_.size(), " of ", total,
                   " policies are not in force as they are written",
                   result.refused ? ", so nothing has changed" : "",
                   "; the first: ", result.problems.front().ToString()));
  return result;
}

Bundle PolicyCatalogue::BundleOf(
    const std::vector<storage::PolicyRecord>& records,
    const PolicyMap& standing) const {
  std::vector<std::shared_ptr<const LoadedPolicy>> given;
  std::set<std::string> taken;
  for (const auto& [name, compiled] : standing) {
    if (compiled.loaded->origin != Origin::kDirectory) continue;
    auto loaded = std::make_shared<LoadedPolicy>(*compiled.loaded);
    loaded->held_back = holds_.count(name) != 0;
    given.push_back(std::move(loaded));
    taken.insert(name);
  }
  std::vector<Refusal> refusals;
  std::vector<std::string> waiting;
  for (auto& loaded : LoadApplied(records, taken, refusals, waiting)) {
    given.push_back(std::move(loaded));
  }
  return BuildBundle(std::move(given), standing, options_.gate);
}

std::vector<policy::Problem> PolicyCatalogue::ReplayDirectory(
    const PolicyMap& before, const PolicyMap& after) {
  const auto is_same = [](const auto& a, const auto& b) {
    return a.first == b.first &&
           a.second.policy->version() == b.second.policy->version();
  };
  if (before.size() == after.size() &&
      std::equal(before.begin(), before.end(), after.begin(), is_same)) {
    return {};
  }
  const absl::StatusOr<ReplayFindings> findings =
      AskReplay(options_.replay, before, after, *options_.directory_replay,
                options_.audit_tenants);
  if (!findings.ok()) {
    return {ProblemOf(options_.directory, findings.status().message())};
  }
  if (findings->refusal.empty()) {
    ReportReplay(*findings);
    return {};
  }
  std::vector<policy::Problem> problems = {
      ProblemOf(options_.directory, findings->refusal)};
  for (const std::string& change : findings->changes) {
    problems.push_back(ProblemOf(options_.directory, change));
  }
  return problems;
}

bool PolicyCatalogue::Blocks(const Refusal& refusal, const PolicyMap& before,
                             const Reading& reading) const {
  if (!loaded_) return false;
  if (refusal.origin != Origin::kDirectory) {
    const auto found = before.find(refusal.subject);
    return found != before.end() &&
           found->second.loaded->origin == Origin::kApplied;
  }
  // A file that was left out before, and has not changed since, is no news.
  const auto left_out = left_out_.find(refusal.subject);
  const auto text = reading.texts.find(refusal.subject);
  return left_out == left_out_.end() || text == reading.texts.end() ||
         left_out->second != text->second;
}

PolicyCatalogue::ReloadResult PolicyCatalogue::NotRead(absl::Status why) {
  ReloadResult result;
  result.status = std::move(why);
  refused_.insert({Origin::kDirectory, ""});
  result.refused = true;
  result.problems.push_back(
      ProblemOf(options_.directory, result.status.message()));
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_POLICY);
  event.set_severity(v1::EVENT_SEVERITY_ERROR);
  event.set_action("policy_load_failed");
  event.set_message(
      absl::StrCat(result.status.message(), "; policies stay as they were"));
  faults_.Report(InternalFault::kPoliciesNotRead, "", std::move(event));
  return result;
}

absl::StatusOr<PolicyMap> PolicyCatalogue::LastInForce() const {
  PolicyMap last;
  const absl::StatusOr<std::vector<storage::PolicyFileRecord>> files =
      catalogue_.ListPolicyFiles();
  if (!files.ok()) return files.status();
  for (const storage::PolicyFileRecord& file : *files) {
    policy::LoadResult result = policy::LoadPolicy(
        file.source, absl::StrCat(options_.directory, "/", file.file_name));
    if (!result.ok()) continue;
    auto policy = std::make_shared<LoadedPolicy>();
    policy->origin = Origin::kDirectory;
    policy->file_name = file.file_name;
    policy->source = file.source;
    policy->since = file.since;
    policy->file = *std::move(result.file);
    const std::string name = policy->name();
    last.emplace(name, CompiledPolicy{std::move(policy), nullptr});
  }
  return last;
}

PolicyCatalogue::Reading PolicyCatalogue::LoadFiles(
    std::vector<PolicyFileText> files, const PolicyMap& standing,
    const Holds& holds) const {
  // What each file said when it was right last.
  std::map<std::string, std::shared_ptr<const LoadedPolicy>> earlier;
  for (const auto& [name, compiled] : standing) {
    if (compiled.loaded->origin == Origin::kDirectory) {
      earlier.emplace(compiled.loaded->file_name, compiled.loaded);
    }
  }

  Reading reading;
  std::map<std::string, std::string> owners;  // policy name to file name
  std::vector<Refusal> refused;
  for (PolicyFileText& file : files) {
    const std::string path = absl::StrCat(options_.directory, "/", file.name);
    const auto same = earlier.find(file.name);
    policy::LoadResult result;
    if (file.status.ok()) {
      const storage::Digest text = storage::DigestOf(file.text);
      reading.texts.emplace(file.name, text);
      if (same != earlier.end()) {
        const auto hold = holds.find(same->second->name());
        if (hold != holds.end() && hold->second.held == text &&
            owners.emplace(hold->first, file.name).second) {
          auto held = std::make_shared<LoadedPolicy>(*same->second);
          held->held_back = true;
          reading.loaded.push_back(std::move(held));
          reading.holds.insert(*hold);
          continue;
        }
      }
      result = policy::LoadPolicy(file.text, path);
    } else {
      // Not the empty text: the error is what may be known already.
      reading.texts.emplace(file.name,
                            storage::DigestOf(file.status.ToString()));
      result.problems.push_back(ProblemOf(path, file.status.message()));
    }
    if (result.ok()) {
      const std::string& name = result.file->proto.metadata().name();
      const auto [owner, is_new] = owners.emplace(name, file.name);
      if (!is_new) {
        policy::Problem problem =
            ProblemOf(path, absl::StrCat("metadata.name: ", Quoted(name),
                                         " is the name of the policy in ",
                                         Quoted(owner->second), " already"));
        const policy::SourcePosition at =
            result.file->PositionOf("metadata.name");
        problem.line = at.line;
        problem.column = at.column;
        result.problems.push_back(std::move(problem));
        result.file.reset();
      }
    }
    if (!result.ok()) {
      refused.push_back(
          {file.name, Origin::kDirectory, std::move(result.problems), false});
      continue;
    }
    auto policy = std::make_shared<LoadedPolicy>();
    policy->origin = Origin::kDirectory;
    policy->file_name = file.name;
    policy->source = std::move(file.text);
    policy->file = *std::move(result.file);
    policy->since =
        same != earlier.end() && same->second->source == policy->source
            ? same->second->since
            : absl::Now();
    reading.loaded.push_back(std::move(policy));
  }
  for (Refusal& refusal : refused) {
    const auto found = earlier.find(refusal.subject);
    if (found != earlier.end() &&
        owners.emplace(found->second->name(), refusal.subject).second) {
      reading.loaded.push_back(found->second);
      refusal.earlier_stays = true;
    }
    reading.refusals.push_back(std::move(refusal));
  }
  return reading;
}

void PolicyCatalogue::Remember(const PolicyMap& after, const Holds& holds) {
  storage::PolicyCommit commit;
  std::map<std::string, storage::Digest> texts;
  for (const auto& [name, compiled] : after) {
    if (compiled.loaded->origin != Origin::kDirectory) continue;
    texts.emplace(compiled.loaded->file_name,
                  storage::DigestOf(compiled.loaded->source));
  }
  if (texts != stored_files_) {
    commit.files.emplace();
    for (const auto& [name, compiled] : after) {
      if (compiled.loaded->origin != Origin::kDirectory) continue;
      commit.files->push_back({compiled.loaded->file_name,
                               compiled.loaded->source,
                               compiled.loaded->since});
    }
  }
  const auto by_digest = [](const auto& a, const auto& b) {
    return a.first == b.first && a.second.held == b.second.held;
  };
  if (holds.size() != holds_.size() ||
      !std::equal(holds.begin(), holds.end(), holds_.begin(), by_digest)) {
    commit.holds.emplace();
    for (const auto& [name, hold] : holds) commit.holds->push_back(hold);
  }
  commit.versions =
      NewVersions(after, {"", storage::PolicyOrigin::kFile, Author{"", ""}});
  holds_ = holds;
  // What was chosen for a policy goes with it: another that comes under its
  // name begins as it is written.
  const size_t said = switches_.size();
  for (auto record = switches_.begin(); record != switches_.end();) {
    const bool is_of_none =
        after.count(record->first) == 0 && !record->second.inactive;
    record = is_of_none ? switches_.erase(record) : std::next(record);
  }
  if (switches_.size() != said) commit.switches = ToRecords(switches_);
  if (!commit.files && !commit.holds && !commit.switches &&
      commit.versions.empty()) {
    return;
  }
  std::vector<storage::PolicyVersionRecord> versions = commit.versions;
  const absl::Status stored = CommitWithOwed(std::move(commit));
  if (stored.ok()) {
    stored_files_ = std::move(texts);
    return;
  }
  // What the files say counts all the same: a disk that is full must not keep
  // a policy from being tightened.
  for (storage::PolicyVersionRecord& version : versions) {
    owed_.push_back(std::move(version));
  }
  if (owed_.size() > kOwedMax) {
    owed_.erase(owed_.begin(),
                owed_.end() - static_cast<std::ptrdiff_t>(kOwedMax));
  }
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_POLICY);
  event.set_severity(v1::EVENT_SEVERITY_ERROR);
  event.set_action("policy_history_not_stored");
  event.set_message(std::string(stored.message()));
  faults_.Report(InternalFault::kPolicyHistoryNotStored, "", std::move(event));
}

absl::Status PolicyCatalogue::CommitWithOwed(storage::PolicyCommit commit) {
  commit.versions.insert(commit.versions.begin(), owed_.begin(), owed_.end());
  const absl::Status stored = catalogue_.CommitPolicies(commit);
  if (!stored.ok()) return stored;
  owed_.clear();
  faults_.Clear(InternalFault::kPolicyHistoryNotStored, "");
  return stored;
}

void PolicyCatalogue::RetryUnstored() {
  if (!changing_.TryLock()) return;
  if (!owed_.empty() && !CommitWithOwed({}).ok()) {
    faults_.Count(InternalFault::kPolicyHistoryNotStored, 1);
  }
  changing_.Unlock();
}

void PolicyCatalogue::ReportHold(const storage::PolicyHoldRecord& hold) {
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_POLICY);
  event.set_severity(v1::EVENT_SEVERITY_WARNING);
  event.set_action("policy_file_held_back");
  event.set_policy(hold.name);
  event.set_policy_version(hold.held_version);
  event.set_message(absl::StrCat(
      "the file's version is not in force since ",
      absl::FormatTime(absl::RFC3339_sec, hold.since, absl::UTCTimeZone()),
      "; an earlier one is, until the file changes"));
  events_.Publish(std::move(event));
}

}  // namespace callgate::policies
