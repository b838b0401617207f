#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/file/policy_diff.h"
#include "policy/file/policy_file.h"
#include "proto/callgate/v1/policy_service.grpc.pb.h"
#include "server/cli/commands.h"
#include "server/cli/connection.h"
#include "server/cli/console.h"
#include "server/cli/duration_message.h"
#include "server/cli/exit_codes.h"
#include "server/cli/json.h"
#include "server/cli/message_json.h"
#include "server/cli/policy_text.h"
#include "server/cli/text_table.h"
#include "server/events/escape.h"

namespace callgate::cli {
namespace {

using events::EscapeText;
using Stub = v1::PolicyService::Stub;

constexpr size_t kDigestDigitsShown = 12;
constexpr size_t kWordsBytesMax = 60;

absl::string_view OriginText(v1::PolicyVersionOrigin origin) {
  switch (origin) {
    case v1::POLICY_VERSION_ORIGIN_APPLIED:
      return "applied";
    case v1::POLICY_VERSION_ORIGIN_FILE:
      return "file";
    case v1::POLICY_VERSION_ORIGIN_INCLUDED:
      return "include";
    case v1::POLICY_VERSION_ORIGIN_ROLLBACK:
      return "rollback";
    case v1::POLICY_VERSION_ORIGIN_SURGE:
      return "surge";
    default:
      return "unknown";
  }
}

// A policy's text, and a name that tells its format.
struct Text {
  std::string source;
  std::string file_name;
};

// "web" or "web@3", from the daemon.
OrFailure<Text> FetchText(const Arguments& arguments,
                          const std::string& operand) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return connection.failure();
  const std::unique_ptr<Stub> stub =
      v1::PolicyService::NewStub(connection->channel());
  grpc::ClientContext context;
  SetCallDeadline(context);
  const size_t at = operand.find('@');
  if (at == std::string::npos) {
    v1::GetPolicyRequest request;
    request.set_name(operand);
    v1::Policy policy;
    const grpc::Status status = stub->GetPolicy(&context, request, &policy);
    if (!status.ok()) return connection->Explain(status);
    // What is in force may be in the history, which knows its format; what
    // comes with the daemon is not, and is YAML.
    v1::GetPolicyVersionRequest which;
    which.set_name(operand);
    which.set_version(policy.version());
    v1::PolicyVersion version;
    grpc::ClientContext again;
    SetCallDeadline(again);
    const bool known = stub->GetPolicyVersion(&again, which, &version).ok();
    return Text{policy.source(),
                absl::StrCat(operand, known && version.format() == "textproto"
                                          ? ".textproto"
                                          : ".yaml")};
  }
  v1::GetPolicyVersionRequest request;
  request.set_name(operand.substr(0, at));
  request.set_version(operand.substr(at + 1));
  v1::PolicyVersion version;
  const grpc::Status status =
      stub->GetPolicyVersion(&context, request, &version);
  if (!status.ok()) return connection->Explain(status);
  return Text{
      version.source(),
      absl::StrCat(operand,
                   version.format() == "textproto" ? ".textproto" : ".yaml")};
}

// The file of that name, else the daemon's policy.
OrFailure<Text> FindText(const Arguments& arguments,
                         const std::string& operand) {
  if (access(operand.c_str(), F_OK) != 0 &&
      operand.find('/') == std::string::npos) {
    return FetchText(arguments, operand);
  }
  OrFailure<std::string> text = ReadPolicyText(operand);
  if (!text.ok()) return text.failure();
  return Text{*std::move(text), operand};
}

}  // namespace

int PolicyShow(const Arguments& arguments) {
  const OrFailure<Text> text = FetchText(arguments, arguments.operands()[0]);
  if (!text.ok()) return Report(text.failure());
  return Print(text->source);
}

int PolicyHistory(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::ListPolicyVersionsRequest request;
  request.set_name(arguments.operands()[0]);
  v1::ListPolicyVersionsResponse response;
  const grpc::Status status =
      v1::PolicyService::NewStub(connection->channel())
          ->ListPolicyVersions(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  if (arguments.Has("json")) {
    std::string lines;
    for (const v1::PolicyVersion& version : response.versions()) {
      absl::StrAppend(&lines, MessageJson(version), "\n");
    }
    return Print(lines);
  }
  std::vector<std::vector<std::string>> rows = {
      {"NUMBER", "VERSION", "SINCE", "HOW", "WHO", "WHAT FOR"}};
  for (const v1::PolicyVersion& version : response.versions()) {
    const std::string& who =
        version.author().empty() ? version.file_name() : version.author();
    rows.push_back(
        {absl::StrCat(version.number(), version.in_force() ? "*" : ""),
         version.version().substr(0, kDigestDigitsShown),
         TimeText(version.apply_time()),
         std::string(OriginText(version.origin())),
         EscapeText(who, kWordsBytesMax),
         EscapeText(version.comment(), kWordsBytesMax)});
  }
  return Print(TextTable(rows));
}

int PolicyRollback(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::RollbackPolicyRequest request;
  request.set_name(arguments.operands()[0]);
  if (arguments.operands().size() > 1) {
    request.set_version(arguments.operands()[1]);
  }
  request.set_author(LocalAuthor());
  request.set_comment(arguments.Get("comment").value_or(""));
  v1::RollbackPolicyResponse response;
  const grpc::Status status =
      v1::PolicyService::NewStub(connection->channel())
          ->RollbackPolicy(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  for (const v1::PolicyProblem& warning : response.warnings()) {
    PrintProblem(ProblemOf(warning), "warning: ");
  }
  return Print(absl::StrCat(
      PlainName(response.policy().name()), "@", response.policy().version(),
      response.unchanged() ? " unchanged" : "",
      response.policy().held_back() ? " held back, until its file changes" : "",
      "\n"));
}

int PolicyReload(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::ReloadPoliciesResponse response;
  const grpc::Status status =
      v1::PolicyService::NewStub(connection->channel())
          ->ReloadPolicies(&context, v1::ReloadPoliciesRequest(), &response);
  if (!status.ok()) return Report(connection->Explain(status));
  for (const v1::PolicyProblem& problem : response.problems()) {
    PrintProblem(ProblemOf(problem), "");
  }
  if (response.problems().empty()) {
    return Print("all policies are in force as they are written\n");
  }
  const int printed = Print(
      response.refused() ? "nothing has changed\n"
                         : "what is right is in force, and no more of it\n");
  return printed != kExitOk ? printed : kExitPolicyRefused;
}

int PolicyDiff(const Arguments& arguments) {
  std::vector<v1::PolicyFile> files;
  for (const std::string& operand : arguments.operands()) {
    const OrFailure<Text> text = FindText(arguments, operand);
    if (!text.ok()) return Report(text.failure());
    policy::LoadResult loaded =
        policy::LoadPolicy(text->source, text->file_name);
    for (const policy::Problem& problem : loaded.problems) {
      PrintProblem(problem, "");
    }
    if (!loaded.ok()) return kExitPolicyRefused;
    files.push_back(std::move(loaded.file->proto));
  }
  const std::vector<policy::Difference> differences =
      policy::DiffPolicies(files[0], files[1]);
  std::string lines;
  for (const policy::Difference& difference : differences) {
    if (!arguments.Has("json")) {
      absl::StrAppend(&lines, policy::DifferenceText(difference), "\n");
      continue;
    }
    constexpr const char* kKinds[] = {"added", "removed", "changed"};
    JsonObject line;
    line.Text("kind", kKinds[static_cast<int>(difference.kind)])
        .Text("path", difference.path)
        .Text("before", difference.before)
        .Text("after", difference.after);
    absl::StrAppend(&lines, line.ToString(), "\n");
  }
  const int printed = Print(lines);
  if (printed != kExitOk) return printed;
  return differences.empty() ? kExitOk : kExitFailure;
}

}  // namespace callgate::cli
