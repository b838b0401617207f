#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "policy/file/problem.h"
#include "proto/callgate/v1/policy_service.grpc.pb.h"
#include "server/cli/commands.h"
#include "server/cli/connection.h"
#include "server/cli/console.h"
#include "server/cli/duration_flag.h"
#include "server/cli/duration_message.h"
#include "server/cli/exit_codes.h"
#include "server/cli/message_json.h"
#include "server/cli/policy_files.h"
#include "server/cli/policy_text.h"
#include "server/cli/quoted.h"
#include "server/cli/text_table.h"
#include "server/events/escape.h"
#include "server/tested_policies.h"

namespace callgate::cli {
namespace {

using events::EscapeText;

absl::string_view OriginText(v1::PolicyOrigin origin) {
  switch (origin) {
    case v1::POLICY_ORIGIN_APPLIED:
      return "applied";
    case v1::POLICY_ORIGIN_DIRECTORY:
      return "directory";
    case v1::POLICY_ORIGIN_BUILT_IN:
      return "built-in";
    default:
      return "unknown";
  }
}

// What --replay, --replay-since and --max-changed ask for.
OrFailure<std::optional<v1::ReplayDemand>> ReplayOf(
    const Arguments& arguments) {
  const std::optional<std::string> trace = arguments.Get("replay");
  OrFailure<std::optional<google::protobuf::Duration>> since =
      DurationFlag(arguments, "replay-since");
  if (!since.ok()) return since.failure();
  const std::optional<std::string> max = arguments.Get("max-changed");
  if (trace && *since) {
    return WrongUsage("say either --replay NAME or --replay-since TIME");
  }
  if (!trace && !*since) {
    if (max) {
      return WrongUsage(
          "--max-changed goes with --replay NAME or --replay-since TIME");
    }
    return std::optional<v1::ReplayDemand>();
  }
  v1::ReplayDemand demand;
  if (trace) {
    if (trace->empty()) return WrongUsage("--replay names no trace");
    demand.set_trace(*trace);
  } else {
    *demand.mutable_since() = **since;
  }
  uint64_t changed = 0;
  if (max && !absl::SimpleAtoi(*max, &changed)) {
    return WrongUsage(
        absl::StrCat("--max-changed ", Quoted(*max), " is not a whole number"));
  }
  demand.set_max_changed(changed);
  return std::optional<v1::ReplayDemand>(std::move(demand));
}

void SayReplay(const v1::ReplaySummary& replay) {
  Say(absl::StrCat("replayed ", replay.events(), " events of ", replay.stores(),
                   " Stores: ", replay.changed(),
                   " would be judged otherwise"));
  for (const std::string& change : replay.changes()) {
    SayMore(change);
  }
}

}  // namespace

int PolicyCheck(const Arguments& arguments) {
  OrFailure<std::vector<PolicyFile>> files =
      ReadPolicyFiles(arguments.operands());
  if (!files.ok()) return Report(files.failure());
  // What would keep the daemon from putting it in force.
  for (PolicyFile& file : *files) {
    if (!file.ok()) continue;
    file.compiled.problems = TryPolicy(*file.file, file.compiled.policy);
    if (!file.compiled.problems.empty()) file.compiled.policy = nullptr;
  }
  const int exit_code = PrintProblemsOf(*files) ? kExitOk : kExitPolicyRefused;
  std::string passed;
  for (const PolicyFile& file : *files) {
    if (!file.ok()) continue;
    absl::StrAppend(&passed, EscapeText(file.path), ": ok, ",
                    EscapeText(file.compiled.policy->name()), "@",
                    file.compiled.policy->version(), "\n");
  }
  const int printed = Print(passed);
  return exit_code != kExitOk ? exit_code : printed;
}

int PolicyApply(const Arguments& arguments) {
  const std::string& path = arguments.operands()[0];
  const OrFailure<v1::PolicyMode> mode =
      ParsePolicyMode(std::string(arguments.Get("mode").value_or("enforce")));
  if (!mode.ok()) return Report(mode.failure());
  OrFailure<std::optional<v1::ReplayDemand>> replay = ReplayOf(arguments);
  if (!replay.ok()) return Report(replay.failure());
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  OrFailure<std::string> text = ReadPolicyText(path);
  if (!text.ok()) return Report(text.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::ApplyPolicyRequest request;
  request.set_source(*std::move(text));
  request.set_file_name(path);
  request.set_author(LocalAuthor());
  request.set_comment(arguments.Get("comment").value_or(""));
  request.set_mode(*mode);
  if (*replay) *request.mutable_replay() = **replay;
  v1::ApplyPolicyResponse response;
  const grpc::Status status = v1::PolicyService::NewStub(connection->channel())
                                  ->ApplyPolicy(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  for (const v1::PolicyProblem& warning : response.warnings()) {
    PrintProblem(ProblemOf(warning), "warning: ");
  }
  if (response.has_replay()) SayReplay(response.replay());
  return Print(absl::StrCat(PlainName(response.policy().name()), "@",
                            response.policy().version(),
                            response.unchanged() ? " unchanged" : "", "\n"));
}

int PolicyLs(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  const std::unique_ptr<v1::PolicyService::Stub> stub =
      v1::PolicyService::NewStub(connection->channel());
  const bool json = arguments.Has("json");
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "VERSION", "MODE", "ORIGIN", "APPLIED", "DESCRIPTION"}};
  std::string lines;
  v1::ListPoliciesRequest request;
  do {
    grpc::ClientContext context;
    SetCallDeadline(context);
    v1::ListPoliciesResponse response;
    const grpc::Status status =
        stub->ListPolicies(&context, request, &response);
    if (!status.ok()) return Report(connection->Explain(status));
    for (const v1::Policy& policy : response.policies()) {
      if (json) {
        absl::StrAppend(&lines, MessageJson(policy), "\n");
        continue;
      }
      constexpr size_t kDescriptionBytesMax = 60;
      rows.push_back(
          {PlainName(policy.name()), policy.version().substr(0, 12),
           policy.inactive() ? "inactive" : EscapeText(policy.mode()),
           absl::StrCat(OriginText(policy.origin()),
                        policy.held_back() ? " (held back)" : ""),
           TimeText(policy.apply_time()),
           EscapeText(policy.description(), kDescriptionBytesMax)});
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return Print(json ? lines : TextTable(rows));
}

}  // namespace callgate::cli
