#include "server/services/policy_service.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "policy/file/policy_file.h"
#include "server/error_reason.h"
#include "server/services/messages.h"
#include "server/services/resource_name.h"
#include "server/services/status_to_grpc.h"
#include "server/services/unary_call.h"

namespace callgate {
namespace {

constexpr char kService[] = "callgate.v1.PolicyService";
constexpr size_t kFileNameBytesMax = 512;
constexpr size_t kAuthorBytesMax = 128;
constexpr size_t kCommentBytesMax = 1'000;

using ProblemList = google::protobuf::RepeatedPtrField<v1::PolicyProblem>;

void AddProblems(const std::vector<policy::Problem>& problems,
                 ProblemList* list) {
  for (const policy::Problem& problem : problems) {
    v1::PolicyProblem* to = list->Add();
    to->set_file(problem.file);
    to->set_line(problem.line);
    to->set_column(problem.column);
    to->set_message(problem.message);
  }
}

absl::Status CheckDocument(const std::string& source,
                           const std::string& file_name) {
  const auto bad = [](absl::string_view what, size_t size, size_t max) {
    return ErrorWithReason(
        absl::StatusCode::kInvalidArgument, reason::kBadArgument,
        absl::StrCat(what, " has ", size, " bytes, the maximum is ", max));
  };
  if (source.size() > policy::kPolicyFileBytesMax) {
    return bad("source", source.size(), policy::kPolicyFileBytesMax);
  }
  if (file_name.size() > kFileNameBytesMax) {
    return bad("file_name", file_name.size(), kFileNameBytesMax);
  }
  return absl::OkStatus();
}

absl::Status InvalidPolicy(const std::vector<policy::Problem>& problems,
                           absl::string_view what = "was not applied") {
  std::vector<std::pair<std::string, std::string>> violations;
  for (const policy::Problem& problem : problems) {
    violations.emplace_back(
        absl::StrCat(problem.file, ":", problem.line, ":", problem.column),
        problem.message);
  }
  return WithViolations(
      ErrorWithReason(
          absl::StatusCode::kInvalidArgument, reason::kPolicyInvalid,
          absl::StrCat("the policy has ", problems.size(), " problem(s) and ",
                       what, "; the first: ", problems.front().ToString())),
      violations);
}

// What the caller says of itself, and where it calls from, which it cannot
// choose.
absl::StatusOr<policies::Author> AuthorOf(
    const grpc::CallbackServerContext& context, const std::string& author,
    const std::string& comment) {
  const auto bad = [](absl::string_view what, size_t size, size_t max) {
    return ErrorWithReason(
        absl::StatusCode::kInvalidArgument, reason::kBadArgument,
        absl::StrCat(what, " has ", size, " bytes, the maximum is ", max));
  };
  if (author.size() > kAuthorBytesMax) {
    return bad("author", author.size(), kAuthorBytesMax);
  }
  if (comment.size() > kCommentBytesMax) {
    return bad("comment", comment.size(), kCommentBytesMax);
  }
  const std::string peer = context.peer();
  return policies::Author{
      author.empty() ? peer : absl::StrCat(author, " (", peer, ")"), comment};
}

absl::StatusOr<policy::Mode> ModeFromProto(v1::PolicyMode mode) {
  switch (mode) {
    case v1::POLICY_MODE_UNSPECIFIED:
    case v1::POLICY_MODE_ENFORCE:
      return policy::Mode::kEnforce;
    case v1::POLICY_MODE_AUDIT:
      return policy::Mode::kAudit;
    default:
      return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                             reason::kBadArgument,
                             absl::StrCat("mode ", static_cast<int>(mode),
                                          " is none that this daemon knows"));
  }
}

// What a request says of the policy that it is about, and of who asks.
template <typename Request>
absl::StatusOr<policies::PolicyCatalogue::SwitchRequest> SwitchOf(
    const grpc::CallbackServerContext& context, const Request& request) {
  absl::StatusOr<policies::Author> author =
      AuthorOf(context, request.author(), request.comment());
  if (!author.ok()) return author.status();
  policies::PolicyCatalogue::SwitchRequest wanted;
  wanted.name = std::string(absl::StripPrefix(request.name(), "policies/"));
  wanted.author = *std::move(author);
  return wanted;
}

absl::StatusOr<std::optional<policies::ReplayDemand>> ReplayDemandOf(
    const v1::ApplyPolicyRequest& request) {
  if (!request.has_replay()) return std::optional<policies::ReplayDemand>();
  const v1::ReplayDemand& given = request.replay();
  policies::ReplayDemand demand;
  demand.changed_max = given.max_changed();
  const auto bad = [](absl::string_view message) {
    return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                           reason::kBadArgument, message);
  };
  switch (given.what_case()) {
    case v1::ReplayDemand::kTrace:
      demand.trace = std::string(absl::StripPrefix(given.trace(), "traces/"));
      if (demand.trace.empty()) return bad("replay.trace is empty");
      break;
    case v1::ReplayDemand::kSince: {
      const absl::StatusOr<std::optional<absl::Duration>> since =
          PositiveDuration("replay.since", true, given.since());
      if (!since.ok()) return since.status();
      demand.since = **since;
      break;
    }
    default:
      return bad("replay: say which trace, or since when");
  }
  return std::optional<policies::ReplayDemand>(std::move(demand));
}

absl::Status ReplayRefused(const policies::ReplayFindings& findings) {
  std::vector<std::pair<std::string, std::string>> violations;
  for (const std::string& change : findings.changes) {
    violations.emplace_back("replay", change);
  }
  return WithViolations(
      ErrorWithReason(
          absl::StatusCode::kFailedPrecondition, reason::kReplayRefused,
          absl::StrCat("the policy was not applied: ", findings.refusal)),
      violations);
}

void FillSummary(const policies::ReplayFindings& findings,
                 v1::ReplaySummary* summary) {
  summary->set_events(findings.events);
  summary->set_stores(findings.stores);
  summary->set_stores_left_out(findings.stores_left_out);
  summary->set_changed(findings.changed);
  summary->set_uncertain(findings.uncertain);
  for (const std::string& change : findings.changes) {
    summary->add_changes(change);
  }
}

v1::PolicyVersion VersionProto(const storage::PolicyVersionRecord& record,
                               bool in_force) {
  v1::PolicyVersion version;
  version.set_policy(absl::StrCat("policies/", record.name));
  version.set_number(record.number);
  version.set_version(record.version);
  const int64_t since_ns = absl::ToUnixNanos(record.since);
  version.mutable_apply_time()->set_seconds(since_ns / 1'000'000'000);
  version.mutable_apply_time()->set_nanos(
      static_cast<int32_t>(since_ns % 1'000'000'000));
  switch (record.origin) {
    case storage::PolicyOrigin::kApplied:
      version.set_origin(v1::POLICY_VERSION_ORIGIN_APPLIED);
      break;
    case storage::PolicyOrigin::kFile:
      version.set_origin(v1::POLICY_VERSION_ORIGIN_FILE);
      break;
    case storage::PolicyOrigin::kIncluded:
      version.set_origin(v1::POLICY_VERSION_ORIGIN_INCLUDED);
      break;
    case storage::PolicyOrigin::kRollback:
      version.set_origin(v1::POLICY_VERSION_ORIGIN_ROLLBACK);
      break;
    case storage::PolicyOrigin::kSurge:
      version.set_origin(v1::POLICY_VERSION_ORIGIN_SURGE);
      break;
  }
  version.set_file_name(record.file_name);
  version.set_author(record.author);
  version.set_comment(record.comment);
  version.set_in_force(in_force);
  version.set_source(record.source);
  version.set_format(record.encoding ==
                             storage::PolicyRecord::Encoding::kTextproto
                         ? "textproto"
                         : "yaml");
  return version;
}

// The catalogue's status, with the reason that its code means there, unless it
// has said its own.
absl::Status Explain(const absl::Status& status) {
  if (!ReasonOf(status).empty()) return status;
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
      return WithReason(status, reason::kPolicyFromDirectory);
    case absl::StatusCode::kAborted:
      return WithReason(status, reason::kEtagMismatch);
    case absl::StatusCode::kResourceExhausted:
      return WithReason(status, reason::kTooManyPolicies);
    case absl::StatusCode::kNotFound:
      return WithReason(status, reason::kPolicyNotFound);
    default:
      return status;
  }
}

}  // namespace

grpc::ServerUnaryReactor* PolicyService::ValidatePolicy(
    grpc::CallbackServerContext* context,
    const v1::ValidatePolicyRequest* request,
    v1::ValidatePolicyResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ValidatePolicy", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::Status status =
            CheckDocument(request->source(), request->file_name());
        if (!status.ok()) return status;
        const policies::PolicyCheck check =
            parts_.policies.Validate(request->source(), request->file_name());
        AddProblems(check.problems, response->mutable_problems());
        AddProblems(check.warnings, response->mutable_warnings());
        response->set_name(check.name);
        response->set_version(check.version);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::ApplyPolicy(
    grpc::CallbackServerContext* context, const v1::ApplyPolicyRequest* request,
    v1::ApplyPolicyResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ApplyPolicy", context, &parts_.control,
      [this, context, request, response](UnaryCall& call) -> absl::Status {
        absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        status = CheckDocument(request->source(), request->file_name());
        if (!status.ok()) return status;
        const absl::StatusOr<policies::Author> author =
            AuthorOf(*context, request->author(), request->comment());
        if (!author.ok()) return author.status();
        const absl::StatusOr<policy::Mode> mode =
            ModeFromProto(request->mode());
        if (!mode.ok()) return mode.status();
        absl::StatusOr<std::optional<policies::ReplayDemand>> replay =
            ReplayDemandOf(*request);
        if (!replay.ok()) return replay.status();
        std::atomic<bool> cancelled{false};
        if (replay->has_value()) {
          call.OnCancelled([&cancelled] { cancelled = true; });
          (*replay)->keep_going = [&] {
            return !cancelled && !parts_.draining &&
                   absl::Now() < call.deadline();
          };
        }
        const absl::StatusOr<policies::PolicyCatalogue::ApplyResult> applied =
            parts_.policies.Apply({request->source(), request->file_name(),
                                   request->validate_only(), request->etag(),
                                   *author, *std::move(replay), *mode});
        call.OnCancelled(nullptr);
        if (!applied.ok()) return Explain(applied.status());
        if (!applied->check.problems.empty()) {
          return InvalidPolicy(applied->check.problems);
        }
        if (applied->replay.has_value()) {
          if (!applied->replay->refusal.empty()) {
            return ReplayRefused(*applied->replay);
          }
          FillSummary(*applied->replay, response->mutable_replay());
        }
        AddProblems(applied->check.warnings, response->mutable_warnings());
        *response->mutable_policy() = policies::PolicyCatalogue::ToProto(
            applied->policy, /*with_source=*/false);
        response->set_unchanged(applied->unchanged);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::GetPolicy(
    grpc::CallbackServerContext* context, const v1::GetPolicyRequest* request,
    v1::Policy* response) {
  return UnaryCall::Start(
      parts_, kService, "GetPolicy", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<policies::PolicyView> policy = parts_.policies.Get(
            absl::StripPrefix(request->name(), "policies/"));
        if (!policy.ok()) return Explain(policy.status());
        *response = policies::PolicyCatalogue::ToProto(*policy,
                                                       /*with_source=*/true);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::ListPolicies(
    grpc::CallbackServerContext* context,
    const v1::ListPoliciesRequest* request,
    v1::ListPoliciesResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ListPolicies", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<size_t> size = ParsePageSize(request->page_size());
        if (!size.ok()) return size.status();
        // A page token is the last name of the page before.
        const std::vector<policies::PolicyView> page =
            parts_.policies.List(*size, request->page_token());
        for (const policies::PolicyView& policy : page) {
          *response->add_policies() =
              policies::PolicyCatalogue::ToProto(policy, /*with_source=*/false);
        }
        if (page.size() == *size) {
          response->set_next_page_token(page.back().name);
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::ListPolicyVersions(
    grpc::CallbackServerContext* context,
    const v1::ListPolicyVersionsRequest* request,
    v1::ListPolicyVersionsResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ListPolicyVersions", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const auto history = parts_.policies.History(
            absl::StripPrefix(request->name(), "policies/"));
        if (!history.ok()) return Explain(history.status());
        for (const auto& entry : *history) {
          *response->add_versions() =
              VersionProto(entry.record, entry.in_force);
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::GetPolicyVersion(
    grpc::CallbackServerContext* context,
    const v1::GetPolicyVersionRequest* request, v1::PolicyVersion* response) {
  return UnaryCall::Start(
      parts_, kService, "GetPolicyVersion", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::string_view name =
            absl::StripPrefix(request->name(), "policies/");
        const auto version =
            parts_.policies.GetVersion(name, request->version());
        if (!version.ok()) return Explain(version.status());
        const auto history = parts_.policies.History(name);
        if (!history.ok()) return Explain(history.status());
        const bool in_force = std::any_of(
            history->begin(), history->end(), [&version](const auto& entry) {
              return entry.in_force && entry.record.number == version->number;
            });
        *response = VersionProto(*version, in_force);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::RollbackPolicy(
    grpc::CallbackServerContext* context,
    const v1::RollbackPolicyRequest* request,
    v1::RollbackPolicyResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "RollbackPolicy", context, &parts_.control,
      [this, context, request, response](UnaryCall&) -> absl::Status {
        const absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        const absl::StatusOr<policies::Author> author =
            AuthorOf(*context, request->author(), request->comment());
        if (!author.ok()) return author.status();
        policies::PolicyCatalogue::RollbackRequest rollback;
        rollback.name =
            std::string(absl::StripPrefix(request->name(), "policies/"));
        rollback.version = request->version();
        rollback.validate_only = request->validate_only();
        rollback.etag = request->etag();
        rollback.author = *author;
        const absl::StatusOr<policies::PolicyCatalogue::ApplyResult> back =
            parts_.policies.Rollback(rollback);
        if (!back.ok()) return Explain(back.status());
        if (!back->check.problems.empty()) {
          return InvalidPolicy(back->check.problems, "stays as it is");
        }
        AddProblems(back->check.warnings, response->mutable_warnings());
        *response->mutable_policy() = policies::PolicyCatalogue::ToProto(
            back->policy, /*with_source=*/false);
        response->set_unchanged(back->unchanged);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::DeletePolicy(
    grpc::CallbackServerContext* context,
    const v1::DeletePolicyRequest* request,
    v1::DeletePolicyResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "DeletePolicy", context, &parts_.control,
      [this, context, request, response](UnaryCall&) -> absl::Status {
        const absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        auto wanted = SwitchOf(*context, *request);
        if (!wanted.ok()) return wanted.status();
        wanted->etag = request->etag();
        wanted->force = request->force();
        const auto gone = parts_.policies.Delete(*wanted);
        if (!gone.ok()) return Explain(gone.status());
        *response->mutable_policy() = policies::PolicyCatalogue::ToProto(
            gone->policy, /*with_source=*/false);
        for (const std::string& id : gone->stores) response->add_stores(id);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::DeactivatePolicy(
    grpc::CallbackServerContext* context,
    const v1::DeactivatePolicyRequest* request,
    v1::DeactivatePolicyResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "DeactivatePolicy", context, &parts_.control,
      [this, context, request, response](UnaryCall&) -> absl::Status {
        const absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        auto wanted = SwitchOf(*context, *request);
        if (!wanted.ok()) return wanted.status();
        wanted->etag = request->etag();
        wanted->force = request->force();
        const auto out = parts_.policies.SetActive(*wanted, /*active=*/false);
        if (!out.ok()) return Explain(out.status());
        *response->mutable_policy() = policies::PolicyCatalogue::ToProto(
            out->policy, /*with_source=*/false);
        for (const std::string& id : out->stores) response->add_stores(id);
        response->set_unchanged(out->unchanged);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::ActivatePolicy(
    grpc::CallbackServerContext* context,
    const v1::ActivatePolicyRequest* request,
    v1::ActivatePolicyResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ActivatePolicy", context, &parts_.control,
      [this, context, request, response](UnaryCall&) -> absl::Status {
        const absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        const auto wanted = SwitchOf(*context, *request);
        if (!wanted.ok()) return wanted.status();
        const auto back = parts_.policies.SetActive(*wanted, /*active=*/true);
        if (!back.ok()) return Explain(back.status());
        if (!back->check.problems.empty()) {
          return InvalidPolicy(back->check.problems, "is not in force");
        }
        AddProblems(back->check.warnings, response->mutable_warnings());
        *response->mutable_policy() = policies::PolicyCatalogue::ToProto(
            back->policy, /*with_source=*/false);
        response->set_unchanged(back->unchanged);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::SetPolicyMode(
    grpc::CallbackServerContext* context,
    const v1::SetPolicyModeRequest* request, v1::Policy* response) {
  return UnaryCall::Start(
      parts_, kService, "SetPolicyMode", context, &parts_.control,
      [this, context, request, response](UnaryCall&) -> absl::Status {
        const absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        auto wanted = SwitchOf(*context, *request);
        if (!wanted.ok()) return wanted.status();
        wanted->etag = request->etag();
        const absl::StatusOr<policy::Mode> mode =
            ModeFromProto(request->mode());
        if (!mode.ok()) return mode.status();
        const auto set = parts_.policies.SetMode(*wanted, *mode);
        if (!set.ok()) return Explain(set.status());
        *response = policies::PolicyCatalogue::ToProto(set->policy,
                                                       /*with_source=*/false);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* PolicyService::ReloadPolicies(
    grpc::CallbackServerContext* context, const v1::ReloadPoliciesRequest*,
    v1::ReloadPoliciesResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ReloadPolicies", context, &parts_.control,
      [this, response](UnaryCall&) -> absl::Status {
        const absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        const policies::PolicyCatalogue::ReloadResult result =
            parts_.policies.ReloadAndTell();
        AddProblems(result.problems, response->mutable_problems());
        response->set_refused(result.refused);
        return absl::OkStatus();
      });
}

}  // namespace callgate
