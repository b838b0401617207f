#include "server/policies/policy_catalogue.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "policy/builtin_policies.h"
#include "policy/policy_compiler.h"
#include "policy/verdict.h"
#include "runtime/check.h"
#include "server/events/escape.h"
#include "server/policies/policy_directory.h"

namespace callgate::policies {
namespace {

// Of the names that a message lists.
constexpr size_t kNamesShownMax = 10;
constexpr char kUnnamedFile[] = "policy.yaml";
// What a caller gives as the etag of a policy that must not be there yet.
constexpr char kNoEtag[] = "-";

// As policy::LoadPolicy takes it.
bool IsTextproto(absl::string_view file_name) {
  return absl::EndsWith(file_name, ".textproto") ||
         absl::EndsWith(file_name, ".txtpb");
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", events::EscapeText(text, 100), "\"");
}

policy::Problem ProblemOf(absl::string_view file, absl::string_view message) {
  policy::Problem problem;
  problem.file = events::EscapeText(file);
  problem.message = std::string(message);
  return problem;
}

PolicyView ViewOf(const CompiledPolicy& compiled, bool with_source) {
  const LoadedPolicy& loaded = *compiled.loaded;
  PolicyView view;
  view.name = compiled.policy->name();
  view.version = compiled.policy->version();
  view.origin = loaded.origin;
  if (with_source) view.source = loaded.source;
  view.mode = std::string(policy::ModeName(compiled.policy->mode()));
  view.description = compiled.policy->description();
  view.since = loaded.since;
  return view;
}

absl::Status NameOfDirectory(const LoadedPolicy& owner) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the policy ", Quoted(owner.name()), " comes from the file ",
      Quoted(owner.file_name),
      " in the policy directory; change it there, or choose another name"));
}

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
    const bool text =
        record.encoding == storage::PolicyRecord::Encoding::kTextproto;
    policy::LoadResult result = policy::LoadPolicy(
        record.source,
        absl::StrCat(record.name, text ? ".textproto" : ".yaml"));
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

}  // namespace

absl::StatusOr<std::unique_ptr<PolicyCatalogue>> PolicyCatalogue::Open(
    const Options& options, storage::Catalogue& catalogue,
    events::EventLog& events, metrics::Metrics& metrics) {
  if (!options.directory.empty()) {
    const absl::Status readable =
        ReadPolicyDirectory(options.directory).status();
    if (!readable.ok()) return readable;
  }
  const absl::Status stored = catalogue.ListPolicies().status();
  if (!stored.ok()) return stored;
  std::unique_ptr<PolicyCatalogue> policies(
      new PolicyCatalogue(options, catalogue, events, metrics));
  // What is wrong with single policies has been told, and stops nothing.
  const absl::Status loaded = policies->Reload();
  static_cast<void>(loaded);
  return policies;
}

PolicyCatalogue::PolicyCatalogue(const Options& options,
                                 storage::Catalogue& catalogue,
                                 events::EventLog& events,
                                 metrics::Metrics& metrics)
    : options_(options),
      catalogue_(catalogue),
      events_(events),
      metrics_(metrics),
      policies_(std::make_shared<const PolicyMap>()) {
  absl::StatusOr<std::shared_ptr<const policy::PolicySet>> empty =
      policy::PolicySet::Make({});
  CALLGATE_CHECK(empty.ok(), "no policies are a set");
  current_ = *std::move(empty);
  for (const policy::BuiltinPolicy& built_in : policy::BuiltinPolicies()) {
    auto loaded = std::make_shared<LoadedPolicy>();
    loaded->origin = Origin::kBuiltIn;
    loaded->source = std::string(built_in.yaml);
    loaded->since = absl::Now();
    const policy::LoadedPolicyFile* const file =
        policy::FindBuiltinPolicy(built_in.name);
    CALLGATE_CHECK(file != nullptr, "a policy that is listed is there");
    loaded->file = *file;
    policy::CompileResult result = policy::CompilePolicy(*file);
    CALLGATE_CHECK(result.ok(), "a policy that comes with callgate compiles");
    built_in_.emplace(std::string(built_in.name),
                      CompiledPolicy{std::move(loaded), result.policy});
  }
}

PolicyCatalogue::~PolicyCatalogue() = default;

std::shared_ptr<const policy::PolicySet> PolicyCatalogue::current() const {
  absl::MutexLock lock(&mu_);
  return current_;
}

std::shared_ptr<const PolicyMap> PolicyCatalogue::policies() const {
  absl::MutexLock lock(&mu_);
  return policies_;
}

void PolicyCatalogue::Report(const Refusal& refusal) {
  CALLGATE_CHECK(!refusal.problems.empty(), "a refusal has a reason");
  const bool file = refusal.origin == Origin::kDirectory;
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_POLICY);
  event.set_severity(v1::EVENT_SEVERITY_ERROR);
  event.set_action(file ? "policy_file_refused" : "policy_refused");
  if (!file) event.set_policy(refusal.subject);
  event.set_message(absl::StrCat(
      refusal.problems.front().ToString(),
      refusal.problems.size() > 1
          ? absl::StrCat(" (and ", refusal.problems.size() - 1, " more)")
          : "",
      refusal.earlier_stays ? "; what it said before stays in force"
                            : "; it is not in force"));
  events_.Publish(std::move(event));
}

absl::Status PolicyCatalogue::Reload() {
  absl::MutexLock lock(&changing_);
  const absl::Status status = LoadAll();
  metrics_.CountPolicyReload(refused_.empty(), absl::Now());
  return status;
}

absl::Status PolicyCatalogue::LoadAll() {
  const std::pair<Origin, std::string> all_of_it = {Origin::kDirectory, ""};
  const absl::StatusOr<std::vector<storage::PolicyRecord>> records =
      catalogue_.ListPolicies();
  absl::Status status = records.status();
  std::vector<PolicyFileText> files;
  if (status.ok() && !options_.directory.empty()) {
    absl::StatusOr<std::vector<PolicyFileText>> read =
        ReadPolicyDirectory(options_.directory);
    status = read.status();
    if (read.ok()) files = *std::move(read);
  }
  if (!status.ok()) {
    // What there is is not known, so all stays as it was.
    refused_.insert(all_of_it);
    v1::Event event;
    event.set_kind(v1::EVENT_KIND_POLICY);
    event.set_severity(v1::EVENT_SEVERITY_ERROR);
    event.set_action("policy_load_failed");
    event.set_message(
        absl::StrCat(status.message(), "; policies stay as they were"));
    events_.Publish(std::move(event));
    return status;
  }

  const std::shared_ptr<const PolicyMap> before = policies();
  std::vector<Refusal> refusals;
  std::vector<std::shared_ptr<const LoadedPolicy>> given =
      LoadFiles(std::move(files), *before, refusals);
  std::set<std::string> taken;
  for (const auto& loaded : given) taken.insert(loaded->name());
  std::vector<std::string> waiting;
  for (auto& loaded : LoadApplied(*records, taken, refusals, waiting)) {
    given.push_back(std::move(loaded));
  }
  const size_t total = given.size() + refusals.size();
  Bundle bundle = BuildBundle(std::move(given), *before);
  for (Refusal& refusal : bundle.refusals) {
    refusals.push_back(std::move(refusal));
  }

  Swap(std::move(bundle.policies));
  refused_.clear();
  for (const Refusal& refusal : refusals) {
    refused_.emplace(refusal.origin, refusal.subject);
    Report(refusal);
  }
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
  if (refusals.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      refused_.size(), " of ", total,
      " policies are not in force as they are written; the first: ",
      refusals.front().problems.front().ToString()));
}

std::vector<std::shared_ptr<const LoadedPolicy>> PolicyCatalogue::LoadFiles(
    std::vector<PolicyFileText> files, const PolicyMap& before,
    std::vector<Refusal>& refusals) const {
  // What each file said when it was right last.
  std::map<std::string, std::shared_ptr<const LoadedPolicy>> earlier;
  for (const auto& [name, compiled] : before) {
    if (compiled.loaded->origin == Origin::kDirectory) {
      earlier.emplace(compiled.loaded->file_name, compiled.loaded);
    }
  }

  std::vector<std::shared_ptr<const LoadedPolicy>> loaded;
  std::map<std::string, std::string> owners;  // policy name to file name
  std::vector<Refusal> refused;
  for (PolicyFileText& file : files) {
    const std::string path = absl::StrCat(options_.directory, "/", file.name);
    policy::LoadResult result;
    if (file.status.ok()) {
      result = policy::LoadPolicy(file.text, path);
    } else {
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
    const auto same = earlier.find(file.name);
    policy->since =
        same != earlier.end() && same->second->source == policy->source
            ? same->second->since
            : absl::Now();
    loaded.push_back(std::move(policy));
  }
  for (Refusal& refusal : refused) {
    const auto found = earlier.find(refusal.subject);
    if (found != earlier.end() &&
        owners.emplace(found->second->name(), refusal.subject).second) {
      loaded.push_back(found->second);
      refusal.earlier_stays = true;
    }
    refusals.push_back(std::move(refusal));
  }
  return loaded;
}

void PolicyCatalogue::Swap(PolicyMap policies) {
  std::vector<std::shared_ptr<const policy::Policy>> compiled;
  std::vector<metrics::PolicyInfo> infos;
  for (const auto& [name, policy] : policies) {
    compiled.push_back(policy.policy);
    infos.push_back({name, policy.policy->version(),
                     std::string(policy::ModeName(policy.policy->mode()))});
  }
  absl::StatusOr<std::shared_ptr<const policy::PolicySet>> set =
      policy::PolicySet::Make(std::move(compiled));
  CALLGATE_CHECK(set.ok(), "policies with different names are a set");

  auto after = std::make_shared<const PolicyMap>(std::move(policies));
  std::shared_ptr<const PolicyMap> before;
  {
    absl::MutexLock lock(&mu_);
    current_ = *std::move(set);
    before = std::exchange(policies_, after);
  }
  metrics_.SetPolicies(infos);
  for (const auto& [name, policy] : *after) {
    const auto found = before->find(name);
    if (found != before->end() &&
        found->second.policy->version() == policy.policy->version()) {
      continue;
    }
    v1::Event event;
    event.set_kind(v1::EVENT_KIND_POLICY);
    event.set_severity(v1::EVENT_SEVERITY_INFO);
    event.set_action(policy.loaded->origin == Origin::kDirectory
                         ? "policy_loaded"
                         : "policy_applied");
    event.set_policy(name);
    event.set_policy_version(policy.policy->version());
    event.set_message(found == before->end() ? "in force now"
                                             : "in force in a new version");
    events_.Publish(std::move(event));
  }
  for (const auto& [name, policy] : *before) {
    if (after->count(name) != 0) continue;
    v1::Event event;
    event.set_kind(v1::EVENT_KIND_POLICY);
    event.set_severity(v1::EVENT_SEVERITY_NOTICE);
    event.set_action("policy_removed");
    event.set_policy(name);
    event.set_policy_version(policy.policy->version());
    event.set_message("no longer in force");
    events_.Publish(std::move(event));
  }
}

PolicyCatalogue::Examined PolicyCatalogue::Examine(const std::string& source,
                                                   const std::string& file_name,
                                                   const PolicyMap& policies) {
  Examined examined;
  PolicyCheck& check = examined.check;
  policy::LoadResult loaded =
      policy::LoadPolicy(source, file_name.empty() ? kUnnamedFile : file_name);
  if (!loaded.ok()) {
    check.problems = std::move(loaded.problems);
    return examined;
  }
  auto policy = std::make_shared<LoadedPolicy>();
  policy->origin = Origin::kApplied;
  policy->source = source;
  policy->since = absl::Now();
  policy->file = *std::move(loaded.file);
  const policy::IncludeResolver resolver = ResolverOf(policies, &policy->file);
  policy::CompileResult result = policy::CompilePolicy(policy->file, resolver);
  check.warnings = std::move(result.warnings);
  if (!result.ok()) {
    check.problems = std::move(result.problems);
    return examined;
  }
  const std::string name = result.policy->name();
  for (const std::string& other : DependentsOf(name, policies)) {
    const CompiledPolicy& dependent = policies.find(other)->second;
    policy::CompileResult again =
        policy::CompilePolicy(dependent.loaded->file, resolver);
    if (again.ok()) {
      examined.changed.emplace(
          other, CompiledPolicy{dependent.loaded, std::move(again.policy)});
      continue;
    }
    check.problems.push_back(
        ProblemOf(policy->file.filename,
                  absl::StrCat("the policy ", Quoted(other),
                               ", which includes this one, would be wrong: ",
                               again.problems.front().ToString())));
  }
  if (!check.problems.empty()) {
    examined.changed.clear();
    return examined;
  }
  check.name = name;
  check.version = result.policy->version();
  examined.changed.emplace(
      name, CompiledPolicy{std::move(policy), std::move(result.policy)});
  return examined;
}

policy::CompileResult PolicyCatalogue::Compile(
    absl::string_view source, absl::string_view file_name) const {
  policy::LoadResult loaded = policy::LoadPolicy(source, file_name);
  if (!loaded.ok()) {
    policy::CompileResult result;
    result.problems = std::move(loaded.problems);
    return result;
  }
  const std::shared_ptr<const PolicyMap> in_force = policies();
  return policy::CompilePolicy(*loaded.file,
                               ResolverOf(*in_force, &*loaded.file));
}

PolicyCheck PolicyCatalogue::Validate(absl::string_view source,
                                      absl::string_view file_name) const {
  const std::shared_ptr<const PolicyMap> now = policies();
  PolicyCheck check =
      Examine(std::string(source), std::string(file_name), *now).check;
  const auto owner = now->find(check.name);
  if (owner != now->end() &&
      owner->second.loaded->origin == Origin::kDirectory) {
    check.problems.push_back(
        ProblemOf(file_name.empty() ? kUnnamedFile : file_name,
                  NameOfDirectory(*owner->second.loaded).message()));
    check.name.clear();
    check.version.clear();
  }
  return check;
}

absl::StatusOr<PolicyCatalogue::ApplyResult> PolicyCatalogue::Apply(
    const ApplyRequest& request) {
  absl::MutexLock lock(&changing_);
  const std::shared_ptr<const PolicyMap> before = policies();
  Examined examined = Examine(request.source, request.file_name, *before);
  ApplyResult result;
  result.check = std::move(examined.check);
  if (!result.check.problems.empty()) return result;

  const std::string& name = result.check.name;
  const CompiledPolicy& applied = examined.changed.find(name)->second;
  const auto in_force = before->find(name);
  const bool replaces = in_force != before->end();
  if (replaces && in_force->second.loaded->origin == Origin::kDirectory) {
    return NameOfDirectory(*in_force->second.loaded);
  }
  const std::string etag =
      replaces ? EtagOf(ViewOf(in_force->second, false)) : std::string(kNoEtag);
  if (!request.etag.empty() && request.etag != etag) {
    return absl::AbortedError(absl::StrCat(
        "the policy ", Quoted(name), " is not the one that was expected: ",
        replaces ? absl::StrCat("its etag is ", etag)
                 : "there is none of that name",
        "; read it again and decide anew"));
  }
  if (replaces && in_force->second.policy->version() == result.check.version) {
    result.unchanged = true;
    result.policy = ViewOf(in_force->second, true);
    return result;
  }
  result.policy = ViewOf(applied, true);
  if (request.validate_only) return result;

  storage::PolicyRecord record;
  record.name = name;
  record.version = result.check.version;
  record.encoding = IsTextproto(request.file_name)
                        ? storage::PolicyRecord::Encoding::kTextproto
                        : storage::PolicyRecord::Encoding::kYaml;
  record.source = request.source;
  record.applied = applied.loaded->since;
  const absl::Status stored = catalogue_.PutPolicy(record);
  if (!stored.ok()) return stored;

  PolicyMap after = *before;
  for (auto& [changed_name, changed] : examined.changed) {
    after.insert_or_assign(changed_name, changed);
  }
  Swap(std::move(after));
  refused_.erase({Origin::kApplied, name});
  metrics_.CountPolicyReload(refused_.empty(), absl::Now());
  return result;
}

absl::StatusOr<PolicyView> PolicyCatalogue::Get(absl::string_view name) const {
  const std::shared_ptr<const PolicyMap> now = policies();
  for (const PolicyMap* const map : {now.get(), &built_in_}) {
    const auto found = map->find(name);
    if (found != map->end()) return ViewOf(found->second, true);
  }
  std::vector<std::string> names;
  for (const PolicyView& policy : List(kNamesShownMax, "")) {
    names.push_back(Quoted(policy.name));
  }
  return absl::NotFoundError(absl::StrCat(
      "no policy ", Quoted(name), "; there are ", absl::StrJoin(names, ", "),
      now->size() + built_in_.size() > names.size() ? " and others" : ""));
}

std::vector<PolicyView> PolicyCatalogue::List(size_t page_size,
                                              absl::string_view after) const {
  const std::shared_ptr<const PolicyMap> now = policies();
  auto one = after.empty() ? now->begin() : now->upper_bound(after);
  auto other = after.empty() ? built_in_.begin() : built_in_.upper_bound(after);
  std::vector<PolicyView> page;
  while (page.size() < page_size) {
    const bool has_one = one != now->end();
    const bool has_other = other != built_in_.end();
    if (!has_one && !has_other) break;
    if (has_one && (!has_other || one->first < other->first)) {
      page.push_back(ViewOf(one++->second, false));
    } else {
      page.push_back(ViewOf(other++->second, false));
    }
  }
  return page;
}

std::string PolicyCatalogue::EtagOf(const PolicyView& policy) {
  return policy.version;
}

v1::Policy PolicyCatalogue::ToProto(const PolicyView& policy,
                                    bool with_source) {
  v1::Policy proto;
  proto.set_name(absl::StrCat("policies/", policy.name));
  proto.set_version(policy.version);
  switch (policy.origin) {
    case Origin::kApplied:
      proto.set_origin(v1::POLICY_ORIGIN_APPLIED);
      break;
    case Origin::kDirectory:
      proto.set_origin(v1::POLICY_ORIGIN_DIRECTORY);
      break;
    case Origin::kBuiltIn:
      proto.set_origin(v1::POLICY_ORIGIN_BUILT_IN);
      break;
  }
  if (with_source) proto.set_source(policy.source);
  proto.set_mode(policy.mode);
  proto.set_description(policy.description);
  const int64_t since_ns = absl::ToUnixNanos(policy.since);
  proto.mutable_apply_time()->set_seconds(since_ns / 1'000'000'000);
  proto.mutable_apply_time()->set_nanos(
      static_cast<int32_t>(since_ns % 1'000'000'000));
  proto.set_etag(EtagOf(policy));
  return proto;
}

}  // namespace callgate::policies
