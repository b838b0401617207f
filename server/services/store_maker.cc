#include "server/services/store_maker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "policy/compiler/policy_compiler.h"
#include "server/error_reason.h"
#include "server/events/escape.h"
#include "server/job_runner.h"
#include "server/module_admission.h"
#include "server/services/messages.h"
#include "server/services/status_to_grpc.h"

namespace callgate {
namespace {

absl::Status BadArgument(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                         reason::kBadArgument, message);
}

absl::Status CheckSizes(const v1::StoreConfig& config) {
  const auto too_many = [](absl::string_view what, size_t count, size_t max) {
    return BadArgument(
        absl::StrCat(what, " has ", count, " entries, the maximum is ", max));
  };
  const auto count_of = [](const auto& list) {
    return static_cast<size_t>(list.size());
  };
  if (count_of(config.args()) > kArgumentsMax) {
    return too_many("args", count_of(config.args()), kArgumentsMax);
  }
  if (count_of(config.env()) > kArgumentsMax) {
    return too_many("env", count_of(config.env()), kArgumentsMax);
  }
  if (count_of(config.dirs()) > kDirsMax) {
    return too_many("dirs", count_of(config.dirs()), kDirsMax);
  }
  if (count_of(config.stubs()) > kStubsMax) {
    return too_many("stubs", count_of(config.stubs()), kStubsMax);
  }
  size_t bytes = config.program_name().size();
  for (const std::string& arg : config.args()) bytes += arg.size() + 1;
  for (const std::string& entry : config.env()) bytes += entry.size() + 1;
  if (bytes > kArgumentBytesMax) {
    return BadArgument(absl::StrCat("args and env have ", bytes,
                                    " bytes, the maximum is ",
                                    kArgumentBytesMax));
  }
  return absl::OkStatus();
}

absl::Status CheckQuarantine(const ServiceParts& parts,
                             const std::string& tenant,
                             const storage::Digest& digest) {
  const absl::StatusOr<std::optional<storage::QuarantineRecord>> found =
      parts.quarantines.Find(tenant, digest);
  if (!found.ok()) return found.status();
  if (!found->has_value()) return absl::OkStatus();
  const storage::QuarantineRecord& record = **found;
  return ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, reason::kModuleQuarantined,
      absl::StrCat("module ", digest.ToString(), " is in quarantine since ",
                   absl::FormatTime(absl::RFC3339_sec, record.since,
                                    absl::UTCTimeZone()),
                   ", put there by rule ", events::EscapeText(record.rule, 256),
                   " of policy ", events::EscapeText(record.policy, 256), ": ",
                   events::EscapeText(record.reason, 512)));
}

// As for a policy that is applied: it has to pass its own tests, too.
absl::StatusOr<std::shared_ptr<const policy::Policy>> CompileInline(
    TestedPolicies& tested, absl::string_view text,
    absl::string_view file_name) {
  policy::LoadResult loaded =
      policy::LoadPolicy(text, file_name.empty() ? "inline policy" : file_name);
  policy::CompileResult compiled;
  if (loaded.ok()) {
    compiled = policy::CompilePolicy(*loaded.file);
  } else {
    compiled.problems = std::move(loaded.problems);
  }
  if (compiled.ok()) {
    compiled.problems = tested.Test(*loaded.file, compiled.policy);
  }
  if (compiled.problems.empty()) return std::move(compiled.policy);
  std::vector<std::pair<std::string, std::string>> violations;
  for (const policy::Problem& problem : compiled.problems) {
    violations.emplace_back(
        absl::StrCat(problem.file, ":", problem.line, ":", problem.column),
        problem.message);
  }
  return WithViolations(
      ErrorWithReason(absl::StatusCode::kInvalidArgument,
                      reason::kPolicyInvalid,
                      absl::StrCat("the policy has ", compiled.problems.size(),
                                   " problem(s), the first: ",
                                   compiled.problems.front().ToString())),
      violations);
}

absl::StatusOr<PolicyChoice> ChoiceOf(const ServiceParts& parts,
                                      const v1::StoreConfig& config) {
  PolicyChoice choice;
  if (config.policy_choice_case() == v1::StoreConfig::kInlinePolicy) {
    auto compiled = CompileInline(parts.tested_policies, config.inline_policy(),
                                  config.inline_policy_file_name());
    if (!compiled.ok()) return compiled.status();
    choice.inline_policy = *std::move(compiled);
  } else if (!config.policy().empty()) {
    choice.requested = config.policy();
  }
  return choice;
}

absl::StatusOr<std::vector<GuestDirectory>> DirsFromProto(
    const ServiceParts& parts, const v1::StoreConfig& config) {
  std::vector<GuestDirectory> dirs;
  for (const v1::DirectoryMapping& dir : config.dirs()) {
    if (!absl::StartsWith(dir.host_path(), "/")) {
      return BadArgument(absl::StrCat(
          "dirs: host_path \"", events::EscapeText(dir.host_path(), 512),
          "\" is not absolute; it names a directory of the daemon's machine"));
    }
    absl::StatusOr<std::string> inside =
        parts.allowed_dirs.Containing(dir.host_path());
    if (!inside.ok()) return inside.status();
    dirs.push_back(GuestDirectory{dir.host_path(), dir.guest_path(),
                                  dir.read_only(), *std::move(inside)});
  }
  return dirs;
}

// What a policy's quarantine does: remembered first, then enforced.
void Quarantine(const ServiceParts& parts, const std::string& tenant,
                const storage::Digest& digest,
                const policy::PolicyViolation& violation) {
  const policy::PolicyViolation::Facts& facts = violation.facts();
  storage::QuarantineRecord record;
  record.tenant = tenant;
  record.digest = digest;
  record.policy = facts.policy;
  record.rule = facts.rule;
  record.reason = events::EscapeText(facts.reason, storage::kReasonBytesMax);
  record.since = absl::Now();

  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_CRITICAL);
  event.set_tenant(tenant);
  event.set_module_digest(digest.ToString());
  v1::Event::Rule* rule = event.add_rules();
  rule->set_policy(facts.policy);
  rule->set_policy_version(facts.policy_version);
  rule->set_id(facts.rule);
  parts.quarantines.Put(record, std::move(event));
  parts.stores.EndModule(
      tenant, digest.ToString(), EndReason::kPolicyQuarantined,
      absl::StrCat("its module went into quarantine: ", record.reason));
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> LabelsFromProto(
    const google::protobuf::Map<std::string, std::string>& labels) {
  if (labels.size() > kLabelsMax) {
    return BadArgument(absl::StrCat("labels has ", labels.size(),
                                    " entries, the maximum is ", kLabelsMax));
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kLabelBytesMax ||
        value.size() > kLabelBytesMax) {
      return BadArgument(absl::StrCat(
          "label \"", events::EscapeText(key, 64), "\": keys have 1 to ",
          kLabelBytesMax, " bytes, values at most ", kLabelBytesMax));
    }
  }
  return std::map<std::string, std::string>(labels.begin(), labels.end());
}

absl::StatusOr<PolicyList> SelectPolicies(
    const ServiceParts& parts, const std::string& tenant,
    const std::map<std::string, std::string>& module_labels,
    const v1::StoreConfig& config) {
  const absl::StatusOr<PolicyChoice> choice = ChoiceOf(parts, config);
  if (!choice.ok()) return choice.status();
  return SelectPolicies(*parts.policies.current(), tenant, module_labels,
                        *choice);
}

absl::StatusOr<std::shared_ptr<StoreEntry>> MakeStore(
    const ServiceParts& parts, const std::string& tenant,
    const v1::StoreConfig& config, const StoreStreams& streams) {
  absl::Status status = CheckNotDraining(parts);
  if (!status.ok()) return status;
  status = CheckSizes(config);
  if (!status.ok()) return status;
  const absl::StatusOr<storage::Digest> digest =
      storage::Digest::Parse(config.module());
  if (!digest.ok()) {
    return WithReason(digest.status(), reason::kBadArgument);
  }
  SessionConfig session;
  session.store_id = StoreRegistry::NewId();
  session.tenant = tenant;
  session.module_digest = digest->ToString();
  absl::StatusOr<std::map<std::string, std::string>> labels =
      LabelsFromProto(config.labels());
  if (!labels.ok()) return labels.status();
  absl::StatusOr<std::optional<absl::Duration>> timeout =
      PositiveDuration("timeout", config.has_timeout(), config.timeout());
  if (!timeout.ok()) return timeout.status();
  absl::StatusOr<std::vector<GuestDirectory>> dirs =
      DirsFromProto(parts, config);
  if (!dirs.ok()) return dirs.status();

  absl::StatusOr<StoreRegistry::Slot> slot = parts.stores.Reserve();
  if (!slot.ok()) return slot.status();
  // Held before the module is looked for: it cannot be deleted in between.
  ModuleLibrary::Use use = parts.modules.Hold(tenant, *digest);
  const absl::StatusOr<storage::ModuleRecord> record =
      parts.modules.Find(tenant, *digest);
  if (!record.ok()) return record.status();
  status = CheckQuarantine(parts, tenant, *digest);
  if (!status.ok()) return status;
  absl::StatusOr<PolicyChoice> choice = absl::UnavailableError("");
  const auto choose = [&] { choice = ChoiceOf(parts, config); };
  if (config.policy_choice_case() == v1::StoreConfig::kInlinePolicy) {
    // Compiling and testing one computes, for long, and lets nobody else run
    // meanwhile.
    RunAside(parts.asides, choose);
  } else {
    choose();
  }
  if (!choice.ok()) return choice.status();
  const std::shared_ptr<const policy::PolicySet> set = parts.policies.current();
  const absl::StatusOr<PolicyList> selected =
      SelectPolicies(*set, tenant, record->labels, *choice);
  if (!selected.ok()) return selected.status();
  absl::StatusOr<LoadedModule> loaded = absl::UnavailableError("");
  const auto load = [&] { loaded = parts.modules.Load(tenant, *digest); };
  if (parts.modules.Loaded(*digest) != nullptr) {
    load();
  } else {
    // Reading and compiling block, for long.
    RunAside(parts.asides, load);
  }
  if (!loaded.ok()) return loaded.status();
  status = CheckModuleLimits(parts.engine, *loaded->bytes,
                             LimitsUnder(parts.engine, *selected));
  if (!status.ok()) return status;

  session.module_labels = record->labels;
  session.module = loaded->module;
  session.policies = *selected;
  if (!config.program_name().empty()) {
    session.program_name = config.program_name();
  }
  session.args.assign(config.args().begin(), config.args().end());
  session.env.assign(config.env().begin(), config.env().end());
  session.dirs = *std::move(dirs);
  for (const v1::StubImport& stub : config.stubs()) {
    session.stubs.push_back(StubImport{stub.module(), stub.name()});
  }
  if (config.fuel() > 0) session.fuel_per_call = config.fuel();
  session.wall_per_call = *timeout;
  session.default_wall_per_call = parts.config.wall_per_call;
  session.profiles = &parts.profiles;
  session.stdin_fd = streams.stdin_fd;
  session.output = streams.output;

  StoreEntry::Facts facts;
  facts.tenant = tenant;
  facts.id = session.store_id;
  facts.module_digest = session.module_digest;
  facts.labels = *std::move(labels);
  facts.created = absl::Now();
  facts.transient = streams.transient;
  facts.module_labels = record->labels;
  facts.choice = *std::move(choice);

  auto watcher = std::make_unique<StoreWatcher>(
      StoreWatcher::Facts{tenant, facts.id, facts.module_digest}, parts.events,
      parts.stores.suppressor(), parts.metrics,
      [parts, tenant,
       digest = *digest](const policy::PolicyViolation& violation) {
        Quarantine(parts, tenant, digest, violation);
      },
      parts.faults, &parts.explanations, parts.surge);
  session.rule_states = &parts.rule_states;
  session.observer = watcher.get();
  session.keep_answers = true;
  if (parts.traces != nullptr) session.recorder = &parts.traces->recorder();
  absl::StatusOr<std::unique_ptr<Session>> made =
      Session::Create(parts.engine, parts.host_modules, std::move(session));
  if (!made.ok()) return made.status();
  facts.warnings = (*made)->warnings();
  auto entry = std::make_shared<StoreEntry>(
      std::move(facts), std::move(use), std::move(watcher), *std::move(made));
  parts.stores.Add(*std::move(slot), entry);
  // Policies that changed since they were looked at have either found the Store
  // in the registry, or are found here.
  if (parts.policies.current() != set) parts.rollout.Bring(*entry);
  // A quarantine that came since the first look has either found the Store in
  // the registry and ended it, or is found here.
  status = CheckQuarantine(parts, tenant, *digest);
  if (!status.ok()) {
    parts.stores.End(entry, EndReason::kPolicyQuarantined, status.message());
    return status;
  }
  return entry;
}

}  // namespace callgate
