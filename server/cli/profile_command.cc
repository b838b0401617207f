#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/callgate/v1/profile_service.grpc.pb.h"
#include "server/cli/commands.h"
#include "server/cli/connection.h"
#include "server/cli/console.h"
#include "server/cli/duration_message.h"
#include "server/cli/exit_codes.h"
#include "server/cli/message_json.h"
#include "server/cli/quoted.h"
#include "server/cli/text_table.h"
#include "server/events/escape.h"

namespace callgate::cli {
namespace {

using events::EscapeText;
using Stub = v1::ProfileService::Stub;

absl::string_view StateText(v1::ProfileState state) {
  switch (state) {
    case v1::PROFILE_STATE_LEARNING:
      return "learning";
    case v1::PROFILE_STATE_STABLE:
      return "stable";
    case v1::PROFILE_STATE_EXPIRED:
      return "expired";
    case v1::PROFILE_STATE_APPROVED:
      return "approved";
    case v1::PROFILE_STATE_FROZEN:
      return "frozen";
    default:
      return "unknown";
  }
}

// "sha256:….6-4-e-0", which every command takes.
std::string ShortName(const v1::Profile& profile) {
  return absl::StrCat(EscapeText(profile.module_digest()), ".",
                      EscapeText(profile.shape()));
}

// Calls one method of the service.
template <typename Method, typename Request, typename Response>
int CallService(const Arguments& arguments, Method method,
                const Request& request, Response* response) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  const std::unique_ptr<Stub> stub =
      v1::ProfileService::NewStub(connection->channel());
  grpc::ClientContext context;
  SetCallDeadline(context);
  const grpc::Status status =
      (stub.get()->*method)(&context, request, response);
  if (!status.ok()) return Report(connection->Explain(status));
  return kExitOk;
}

// What a command that changes a profile says.
int PrintChanged(int exit_code, const v1::Profile& profile) {
  if (exit_code != kExitOk) return exit_code;
  return Print(absl::StrCat(ShortName(profile), " ", StateText(profile.state()),
                            ", ", profile.ngrams_count(), " n-grams of ",
                            profile.runs_count(), " runs, version ",
                            EscapeText(profile.version()), "\n"));
}

}  // namespace

int ProfileLs(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  const std::unique_ptr<Stub> stub =
      v1::ProfileService::NewStub(connection->channel());
  const bool json = arguments.Has("json");
  std::vector<std::vector<std::string>> rows = {
      {"PROFILE", "STATE", "RUNS", "CALLS", "NGRAMS", "IMPORTS"}};
  std::string lines;
  v1::ListProfilesRequest request;
  do {
    grpc::ClientContext context;
    SetCallDeadline(context);
    v1::ListProfilesResponse response;
    const grpc::Status status =
        stub->ListProfiles(&context, request, &response);
    if (!status.ok()) return Report(connection->Explain(status));
    for (const v1::Profile& profile : response.profiles()) {
      if (json) {
        absl::StrAppend(&lines, MessageJson(profile), "\n");
        continue;
      }
      rows.push_back(
          {ShortName(profile), std::string(StateText(profile.state())),
           absl::StrCat(profile.runs_count()), absl::StrCat(profile.calls()),
           absl::StrCat(profile.ngrams_count()),
           absl::StrCat(profile.imports_size())});
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return Print(json ? lines : TextTable(rows));
}

int ProfileShow(const Arguments& arguments) {
  v1::GetProfileRequest request;
  request.set_name(arguments.operands()[0]);
  v1::Profile profile;
  const int exit_code = CallService(
      arguments,
      static_cast<grpc::Status (Stub::*)(
          grpc::ClientContext*, const v1::GetProfileRequest&, v1::Profile*)>(
          &Stub::GetProfile),
      request, &profile);
  if (exit_code != kExitOk) return exit_code;
  if (arguments.Has("json")) {
    return Print(absl::StrCat(MessageJson(profile), "\n"));
  }
  std::string text = absl::StrCat(
      "profile: ", ShortName(profile), "\nstate: ", StateText(profile.state()),
      "\nversion: ", EscapeText(profile.version()),
      "\ncalls: ", profile.calls(), "\nngrams: ", profile.ngrams_count(),
      " of at most ", profile.ngrams_max(), "\nimports:\n");
  for (const std::string& import : profile.imports()) {
    absl::StrAppend(&text, "  ", EscapeText(import), "\n");
  }
  std::vector<std::vector<std::string>> rows = {
      {"RUN", "STORE", "ENDED", "CALLS", "NEW NGRAMS"}};
  for (const v1::ProfileRun& run : profile.runs()) {
    rows.push_back({absl::StrCat(run.number()), EscapeText(run.store_id()),
                    TimeText(run.end_time()), absl::StrCat(run.calls()),
                    absl::StrCat(run.new_ngrams())});
  }
  absl::StrAppend(&text, "\n", TextTable(rows));
  if (arguments.Has("ngrams")) {
    absl::StrAppend(&text, "\n");
    for (const std::string& ngram : profile.ngrams()) {
      absl::StrAppend(&text, EscapeText(ngram), "\n");
    }
  }
  return Print(text);
}

int ProfileApprove(const Arguments& arguments) {
  v1::ApproveProfileRequest request;
  request.set_name(arguments.operands()[0]);
  if (arguments.Has("version")) {
    request.set_version(*arguments.Get("version"));
  }
  v1::Profile profile;
  const int exit_code =
      CallService(arguments,
                  static_cast<grpc::Status (Stub::*)(
                      grpc::ClientContext*, const v1::ApproveProfileRequest&,
                      v1::Profile*)>(&Stub::ApproveProfile),
                  request, &profile);
  return PrintChanged(exit_code, profile);
}

int ProfileFreeze(const Arguments& arguments) {
  v1::FreezeProfileRequest request;
  request.set_name(arguments.operands()[0]);
  v1::Profile profile;
  const int exit_code = CallService(
      arguments,
      static_cast<grpc::Status (Stub::*)(
          grpc::ClientContext*, const v1::FreezeProfileRequest&, v1::Profile*)>(
          &Stub::FreezeProfile),
      request, &profile);
  return PrintChanged(exit_code, profile);
}

int ProfileRmRun(const Arguments& arguments) {
  v1::RemoveProfileRunRequest request;
  request.set_name(arguments.operands()[0]);
  uint32_t run = 0;
  if (!absl::SimpleAtoi(arguments.operands()[1], &run)) {
    return Fail(kExitUsage,
                absl::StrCat(Quoted(arguments.operands()[1]),
                             " is no run's number; `callgate profile show` "
                             "lists them"));
  }
  request.set_run(run);
  v1::Profile profile;
  const int exit_code =
      CallService(arguments,
                  static_cast<grpc::Status (Stub::*)(
                      grpc::ClientContext*, const v1::RemoveProfileRunRequest&,
                      v1::Profile*)>(&Stub::RemoveProfileRun),
                  request, &profile);
  return PrintChanged(exit_code, profile);
}

int ProfileMerge(const Arguments& arguments) {
  v1::MergeProfileRequest request;
  request.set_name(arguments.operands()[0]);
  request.set_source(arguments.operands()[1]);
  v1::Profile profile;
  const int exit_code = CallService(
      arguments,
      static_cast<grpc::Status (Stub::*)(
          grpc::ClientContext*, const v1::MergeProfileRequest&, v1::Profile*)>(
          &Stub::MergeProfile),
      request, &profile);
  return PrintChanged(exit_code, profile);
}

int ProfileDiff(const Arguments& arguments) {
  v1::DiffProfilesRequest request;
  request.set_left(arguments.operands()[0]);
  request.set_right(arguments.operands()[1]);
  v1::DiffProfilesResponse diff;
  const int exit_code =
      CallService(arguments,
                  static_cast<grpc::Status (Stub::*)(
                      grpc::ClientContext*, const v1::DiffProfilesRequest&,
                      v1::DiffProfilesResponse*)>(&Stub::DiffProfiles),
                  request, &diff);
  if (exit_code != kExitOk) return exit_code;
  std::string text;
  for (const std::string& ngram : diff.only_left()) {
    absl::StrAppend(&text, "- ", EscapeText(ngram), "\n");
  }
  for (const std::string& ngram : diff.only_right()) {
    absl::StrAppend(&text, "+ ", EscapeText(ngram), "\n");
  }
  absl::StrAppend(&text, diff.only_left_count(), " only in the first, ",
                  diff.only_right_count(), " only in the second, ",
                  diff.common_count(), " in both\n");
  return Print(text);
}

int ProfileRm(const Arguments& arguments) {
  v1::DeleteProfileRequest request;
  request.set_name(arguments.operands()[0]);
  google::protobuf::Empty nothing;
  return CallService(arguments,
                     static_cast<grpc::Status (Stub::*)(
                         grpc::ClientContext*, const v1::DeleteProfileRequest&,
                         google::protobuf::Empty*)>(&Stub::DeleteProfile),
                     request, &nothing);
}

int PolicyLearn(const Arguments& arguments) {
  v1::LearnPolicyRequest request;
  request.set_name(arguments.operands()[0]);
  if (arguments.Has("name")) {
    request.set_policy_name(*arguments.Get("name"));
  }
  v1::LearnPolicyResponse response;
  const int exit_code =
      CallService(arguments,
                  static_cast<grpc::Status (Stub::*)(
                      grpc::ClientContext*, const v1::LearnPolicyRequest&,
                      v1::LearnPolicyResponse*)>(&Stub::LearnPolicy),
                  request, &response);
  if (exit_code != kExitOk) return exit_code;
  if (!arguments.Has("output")) return Print(response.source());
  const std::string path = *arguments.Get("output");
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << response.source();
  file.close();
  if (!file) {
    return Fail(kExitFailure, absl::StrCat("cannot write ", Quoted(path)));
  }
  return kExitOk;
}

}  // namespace callgate::cli
