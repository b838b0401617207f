#include "server/policies/policy_catalogue.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "policy/builtin/builtin_policies.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/verdict.h"
#include "runtime/check.h"
#include "server/policies/catalogue_words.h"
#include "server/policies/policy_directory.h"

namespace callgate::policies {
namespace {

// Of the names that a message lists.
constexpr size_t kNamesShownMax = 10;
constexpr char kUnnamedFile[] = "policy.yaml";
// What a caller gives as the etag of a policy that must not be there yet.
constexpr char kNoEtag[] = "-";

absl::Status NameOfDirectory(const LoadedPolicy& owner) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the policy ", Quoted(owner.name()), " comes from the file ",
      Quoted(owner.file_name),
      " in the policy directory; change it there, or choose another name"));
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
  const absl::StatusOr<std::vector<storage::PolicyHoldRecord>> holds =
      catalogue.ListPolicyHolds();
  if (!holds.ok()) return holds.status();
  const absl::StatusOr<std::vector<storage::PolicySwitchRecord>> switches =
      catalogue.ListPolicySwitches();
  if (!switches.ok()) return switches.status();
  std::unique_ptr<PolicyCatalogue> policies(
      new PolicyCatalogue(options, catalogue, events, metrics));
  {
    absl::MutexLock lock(&policies->changing_);
    for (const storage::PolicyHoldRecord& hold : *holds) {
      policies->holds_.emplace(hold.name, hold);
    }
    for (const storage::PolicySwitchRecord& record : *switches) {
      policies->switches_.emplace(record.name, record);
    }
  }
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
      faults_(events, metrics),
      policies_(std::make_shared<const PolicyMap>()),
      inactive_(std::make_shared<
                const std::map<std::string, PolicyView, std::less<>>>()) {
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
    CompiledPolicy compiled;
    compiled.loaded = std::move(loaded);
    compiled.policy = result.policy;
    built_in_.emplace(std::string(built_in.name), std::move(compiled));
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

void PolicyCatalogue::Report(const Refusal& refusal, bool nothing_changes) {
  CALLGATE_CHECK(!refusal.problems.empty(), "a refusal has a reason");
  const bool file = refusal.origin == Origin::kDirectory;
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_POLICY);
  event.set_severity(v1::EVENT_SEVERITY_ERROR);
  event.set_action(!file ? "policy_refused"
                   : refusal.subject == kWholeDirectory
                       ? "policy_directory_refused"
                       : "policy_file_refused");
  if (!file) event.set_policy(refusal.subject);
  event.set_message(absl::StrCat(
      refusal.problems.front().ToString(),
      refusal.problems.size() > 1
          ? absl::StrCat(" (and ", refusal.problems.size() - 1, " more)")
          : "",
      refusal.earlier_stays ? "; what it said before stays in force"
                            : "; it is not in force",
      nothing_changes ? ", and nothing else changes until it is right" : ""));
  events_.Publish(std::move(event));
}

void PolicyCatalogue::ReportReplay(const ReplayFindings& findings) {
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_POLICY);
  event.set_severity(findings.events == 0 ? v1::EVENT_SEVERITY_NOTICE
                                          : v1::EVENT_SEVERITY_INFO);
  event.set_action("policy_change_replayed");
  event.set_message(
      findings.events == 0
          ? std::string("nothing that was recorded is about the change")
          : absl::StrCat(findings.events, " recorded events of ",
                         findings.stores, " Stores, ", findings.changed,
                         " would be judged otherwise"));
  events_.Publish(std::move(event));
}

void PolicyCatalogue::Swap(PolicyMap policies, absl::string_view why) {
  SetModes(&policies);
  std::vector<metrics::PolicyInfo> infos;
  for (const auto& [name, policy] : policies) {
    infos.push_back({name, policy.policy->version(),
                     std::string(policy::ModeName(policy.mode()))});
  }
  std::shared_ptr<const policy::PolicySet> set =
      SetOf(policies, options_.audit_tenants);
  auto after = std::make_shared<const PolicyMap>(std::move(policies));
  std::shared_ptr<const PolicyMap> before;
  {
    absl::MutexLock lock(&mu_);
    current_ = std::move(set);
    before = std::exchange(policies_, after);
  }
  metrics_.SetPolicies(infos);
  for (const auto& [name, policy] : *after) {
    const auto found = before->find(name);
    if (found != before->end() &&
        found->second.policy->version() == policy.policy->version()) {
      if (found->second.mode() == policy.mode()) continue;
      v1::Event event;
      event.set_kind(v1::EVENT_KIND_POLICY);
      event.set_severity(v1::EVENT_SEVERITY_NOTICE);
      event.set_action("policy_mode_changed");
      event.set_policy(name);
      event.set_policy_version(policy.policy->version());
      event.set_mode(std::string(policy::ModeName(policy.mode())));
      const auto said = switches_.find(name);
      event.set_message(absl::StrCat(
          "from ", policy::ModeName(found->second.mode()), " to ",
          policy::ModeName(policy.mode()),
          said == switches_.end() ? ""
                                  : absl::StrCat(" by ", said->second.author),
          said == switches_.end() || said->second.comment.empty()
              ? ""
              : absl::StrCat(": ", said->second.comment)));
      events_.Publish(std::move(event));
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
    event.set_message(absl::StrCat("no longer in force", why));
    events_.Publish(std::move(event));
  }
  if (options_.on_swap) options_.on_swap();
}

PolicyCatalogue::Examined PolicyCatalogue::Examine(const std::string& source,
                                                   const std::string& file_name,
                                                   const PolicyMap& policies,
                                                   const Place& place) const {
  Examined examined;
  PolicyCheck& check = examined.check;
  policy::LoadResult loaded =
      policy::LoadPolicy(source, file_name.empty() ? kUnnamedFile : file_name);
  if (!loaded.ok()) {
    check.problems = std::move(loaded.problems);
    return examined;
  }
  auto policy = std::make_shared<LoadedPolicy>();
  policy->origin = place.origin;
  policy->file_name = place.file_name;
  policy->held_back = place.held_back;
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
  check.problems =
      AskGate(options_.gate, policy->file, result.policy, policies);
  if (!check.problems.empty()) return examined;
  const std::string name = result.policy->name();
  for (const std::string& other : DependentsOf(name, policies)) {
    const CompiledPolicy& dependent = policies.find(other)->second;
    policy::CompileResult again =
        policy::CompilePolicy(dependent.loaded->file, resolver);
    if (again.ok()) {
      again.problems = AskGate(options_.gate, dependent.loaded->file,
                               again.policy, policies);
    }
    if (again.problems.empty()) {
      CompiledPolicy changed;
      changed.loaded = dependent.loaded;
      changed.policy = std::move(again.policy);
      examined.changed.emplace(other, std::move(changed));
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
  CompiledPolicy changed;
  changed.loaded = std::move(policy);
  changed.policy = std::move(result.policy);
  examined.changed.emplace(name, std::move(changed));
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
      Examine(std::string(source), std::string(file_name), *now, {}).check;
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

absl::Status PolicyCatalogue::CheckEtag(absl::string_view name,
                                        const std::string& etag,
                                        const PolicyMap& policies) const {
  if (etag.empty()) return absl::OkStatus();
  const auto in_force = policies.find(name);
  const bool is_there = in_force != policies.end();
  const std::string now =
      is_there ? EtagOf(ViewOf(in_force->second, false)) : std::string(kNoEtag);
  if (etag == now) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(
      "the policy ", Quoted(name), " is not the one that was expected: ",
      is_there ? absl::StrCat("its etag is ", now)
               : "there is none of that name",
      "; read it again and decide anew"));
}

absl::StatusOr<PolicyCatalogue::ApplyResult> PolicyCatalogue::Apply(
    const ApplyRequest& request) {
  absl::MutexLock lock(&changing_);
  const std::shared_ptr<const PolicyMap> before = policies();
  Examined examined = Examine(request.source, request.file_name, *before, {});
  ApplyResult result;
  result.check = examined.check;
  if (!result.check.problems.empty()) return result;

  const std::string& name = result.check.name;
  CompiledPolicy& applied = examined.changed.find(name)->second;
  applied.load_mode = request.load_mode;
  const auto in_force = before->find(name);
  const bool replaces = in_force != before->end();
  if (replaces && in_force->second.loaded->origin == Origin::kDirectory) {
    return NameOfDirectory(*in_force->second.loaded);
  }
  absl::Status status = CheckEtag(name, request.etag, *before);
  if (!status.ok()) return status;
  if (replaces) applied.runtime_mode = in_force->second.runtime_mode;
  if (replaces && in_force->second.policy->version() == result.check.version &&
      in_force->second.load_mode == request.load_mode) {
    result.unchanged = true;
    result.policy = ViewOf(in_force->second, true);
    return result;
  }
  if (request.replay.has_value()) {
    PolicyMap after = *before;
    for (const auto& [changed_name, changed] : examined.changed) {
      after.insert_or_assign(changed_name, changed);
    }
    absl::StatusOr<ReplayFindings> replay =
        AskReplay(options_.replay, *before, after, *request.replay,
                  options_.audit_tenants);
    if (!replay.ok()) return replay.status();
    result.replay = *std::move(replay);
    if (!result.replay->refusal.empty()) return result;
    if (!request.validate_only) ReportReplay(*result.replay);
  }
  result.policy = ViewOf(applied, true);
  if (request.validate_only) return result;
  status = Store(examined, EncodingOf(request.file_name),
                 {name, storage::PolicyOrigin::kApplied, request.author},
                 request.load_mode);
  if (!status.ok()) return status;
  return result;
}

absl::Status PolicyCatalogue::Store(const Examined& examined,
                                    storage::PolicyRecord::Encoding encoding,
                                    const Change& change,
                                    policy::Mode load_mode) {
  const std::string& name = examined.check.name;
  const LoadedPolicy& loaded = *examined.changed.find(name)->second.loaded;
  PolicyMap after = *policies();
  for (const auto& [changed_name, changed] : examined.changed) {
    after.insert_or_assign(changed_name, changed);
  }
  storage::PolicyCommit commit;
  storage::PolicyRecord& record = commit.applied.emplace_back();
  record.name = name;
  record.version = examined.check.version;
  record.encoding = encoding;
  record.source = loaded.source;
  record.applied = loaded.since;
  commit.versions = NewVersions(after, change);
  Switches switches = switches_;
  const auto said = switches.find(name);
  const bool in_audit = load_mode == policy::Mode::kAudit;
  if (in_audit || said != switches.end()) {
    storage::PolicySwitchRecord& said_now =
        SwitchOf(name, change.author, &switches);
    said_now.inactive = false;
    said_now.loaded_in_audit = in_audit;
    commit.switches = ToRecords(switches);
  }
  const absl::Status stored = CommitWithOwed(std::move(commit));
  if (!stored.ok()) return stored;

  switches_ = std::move(switches);
  Swap(std::move(after));
  SetInactive({});
  refused_.erase({Origin::kApplied, name});
  metrics_.CountPolicyReload(refused_.empty(), absl::Now());
  return absl::OkStatus();
}

absl::StatusOr<PolicyView> PolicyCatalogue::Get(absl::string_view name) const {
  const std::shared_ptr<const PolicyMap> now = policies();
  for (const PolicyMap* const map : {now.get(), &built_in_}) {
    const auto found = map->find(name);
    if (found != map->end()) return ViewOf(found->second, true);
  }
  const auto kept = inactive();
  const auto found = kept->find(name);
  if (found != kept->end()) return found->second;
  return NoSuchPolicy(name);
}

absl::Status PolicyCatalogue::NoSuchPolicy(absl::string_view name) const {
  std::vector<std::string> names;
  for (const PolicyView& policy : List(kNamesShownMax, "")) {
    names.push_back(Quoted(policy.name));
  }
  return absl::NotFoundError(absl::StrCat(
      "no policy ", Quoted(name), "; there are ", absl::StrJoin(names, ", "),
      policies()->size() + built_in_.size() > names.size() ? " and others"
                                                           : ""));
}

std::vector<PolicyView> PolicyCatalogue::List(size_t page_size,
                                              absl::string_view after) const {
  const std::shared_ptr<const PolicyMap> now = policies();
  const auto kept = inactive();
  std::map<absl::string_view, PolicyView> views;
  const auto add = [&](const auto& map, const auto& view_of) {
    auto next = after.empty() ? map.begin() : map.upper_bound(after);
    for (size_t i = 0; next != map.end() && i < page_size; ++i, ++next) {
      views.emplace(next->first, view_of(next->second));
    }
  };
  const auto of_compiled = [](const CompiledPolicy& policy) {
    return ViewOf(policy, false);
  };
  add(*now, of_compiled);
  add(built_in_, of_compiled);
  add(*kept, [](PolicyView view) {
    view.source.clear();
    return view;
  });
  std::vector<PolicyView> page;
  for (auto& [name, view] : views) {
    if (page.size() == page_size) break;
    page.push_back(std::move(view));
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
  proto.set_held_back(policy.held_back);
  proto.set_file_mode(policy.file_mode);
  proto.set_load_mode(policy.load_mode);
  proto.set_runtime_mode(policy.runtime_mode);
  proto.set_inactive(policy.inactive);
  return proto;
}

}  // namespace callgate::policies
