#include "server/services/policy_service.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "policy/policy_file.h"
#include "server/error_reason.h"
#include "server/services/resource_name.h"
#include "server/services/status_to_grpc.h"
#include "server/services/unary_call.h"

namespace callgate {
namespace {

constexpr char kService[] = "callgate.v1.PolicyService";
constexpr size_t kFileNameBytesMax = 512;

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

absl::Status InvalidPolicy(const std::vector<policy::Problem>& problems) {
  std::vector<std::pair<std::string, std::string>> violations;
  for (const policy::Problem& problem : problems) {
    violations.emplace_back(
        absl::StrCat(problem.file, ":", problem.line, ":", problem.column),
        problem.message);
  }
  return WithViolations(
      ErrorWithReason(
          absl::StatusCode::kInvalidArgument, reason::kPolicyInvalid,
          absl::StrCat("the policy has ", problems.size(),
                       " problem(s) and was not applied; the first: ",
                       problems.front().ToString())),
      violations);
}

// The catalogue's status, with the reason that its code means there.
absl::Status Explain(const absl::Status& status) {
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
      [this, request, response](UnaryCall&) -> absl::Status {
        absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        status = CheckDocument(request->source(), request->file_name());
        if (!status.ok()) return status;
        const absl::StatusOr<policies::PolicyCatalogue::ApplyResult> applied =
            parts_.policies.Apply({request->source(), request->file_name(),
                                   request->validate_only(), request->etag()});
        if (!applied.ok()) return Explain(applied.status());
        if (!applied->check.problems.empty()) {
          return InvalidPolicy(applied->check.problems);
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

}  // namespace callgate
