#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/callgate/v1/policy_service.grpc.pb.h"
#include "server/cli/commands.h"
#include "server/cli/connection.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/cli/policy_text.h"

namespace callgate::cli {
namespace {

// Fills in what all requests about a policy have.
template <typename Request>
Request RequestFor(const Arguments& arguments) {
  Request request;
  request.set_name(arguments.operands()[0]);
  request.set_author(LocalAuthor());
  request.set_comment(arguments.Get("comment").value_or(""));
  return request;
}

// "web@…", what became of it, and whose it was.
int PrintChange(const v1::Policy& policy, absl::string_view what,
                const google::protobuf::RepeatedPtrField<std::string>& stores) {
  return Print(absl::StrCat(
      PlainName(policy.name()), "@", policy.version(), " ", what,
      stores.empty()
          ? ""
          : absl::StrCat(", taken from ", absl::StrJoin(stores, ", ")),
      "\n"));
}

}  // namespace

int PolicyRm(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  auto request = RequestFor<v1::DeletePolicyRequest>(arguments);
  request.set_force(arguments.Has("force"));
  v1::DeletePolicyResponse response;
  const grpc::Status status = v1::PolicyService::NewStub(connection->channel())
                                  ->DeletePolicy(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  return PrintChange(response.policy(), "deleted", response.stores());
}

int PolicyDeactivate(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  auto request = RequestFor<v1::DeactivatePolicyRequest>(arguments);
  request.set_force(arguments.Has("force"));
  v1::DeactivatePolicyResponse response;
  const grpc::Status status =
      v1::PolicyService::NewStub(connection->channel())
          ->DeactivatePolicy(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  return PrintChange(response.policy(),
                     response.unchanged() ? "was not in force" : "not in force",
                     response.stores());
}

int PolicyActivate(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  const auto request = RequestFor<v1::ActivatePolicyRequest>(arguments);
  v1::ActivatePolicyResponse response;
  const grpc::Status status =
      v1::PolicyService::NewStub(connection->channel())
          ->ActivatePolicy(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  for (const v1::PolicyProblem& warning : response.warnings()) {
    PrintProblem(ProblemOf(warning), "warning: ");
  }
  return PrintChange(response.policy(),
                     response.unchanged() ? "was in force" : "in force", {});
}

int PolicyMode(const Arguments& arguments) {
  const OrFailure<v1::PolicyMode> mode =
      ParsePolicyMode(arguments.operands()[1]);
  if (!mode.ok()) return Report(mode.failure());
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  auto request = RequestFor<v1::SetPolicyModeRequest>(arguments);
  request.set_mode(*mode);
  v1::Policy policy;
  const grpc::Status status = v1::PolicyService::NewStub(connection->channel())
                                  ->SetPolicyMode(&context, request, &policy);
  if (!status.ok()) return Report(connection->Explain(status));
  // It may still be under audit for another reason.
  std::string why;
  if (policy.mode() != policy.runtime_mode()) {
    why = policy.file_mode() == "audit" ? ": its text says so"
                                        : ": it was loaded with that option";
  }
  return PrintChange(policy, absl::StrCat(policy.mode(), why), {});
}

}  // namespace callgate::cli
