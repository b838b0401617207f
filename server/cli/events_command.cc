#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proto/callgate/v1/event_service.grpc.pb.h"
#include "server/cli/commands.h"
#include "server/cli/connection.h"
#include "server/cli/console.h"
#include "server/cli/event_line.h"
#include "server/cli/exit_codes.h"
#include "server/cli/json.h"
#include "server/error_reason.h"
#include "server/events/event_json.h"

namespace callgate::cli {
namespace {

std::string GapJson(const v1::Gap& gap) {
  return JsonObject()
      .Text("kind", "gap")
      .Raw("gap", JsonObject()
                      .Unsigned("from_seq", gap.from_seq())
                      .Unsigned("to_seq", gap.to_seq())
                      .Text("reason", gap.reason())
                      .Unsigned("count", gap.count())
                      .ToString())
      .ToString();
}

// The line that a response is worth; empty for a heartbeat.
std::string Line(const v1::WatchEventsResponse& response, bool json) {
  switch (response.payload_case()) {
    case v1::WatchEventsResponse::kEvent:
      return json ? events::EventToJson(response.event())
                  : EventLine(response.event());
    case v1::WatchEventsResponse::kGap:
      return json ? GapJson(response.gap()) : GapLine(response.gap());
    default:
      return "";
  }
}

}  // namespace

int Events(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  const bool json = arguments.Has("json") ||
                    arguments.Get("output").value_or("text") == "json";
  const bool follow = arguments.Has("follow");

  v1::WatchEventsRequest request;
  request.set_include_kept(true);
  request.set_stop_at_end(!follow);
  request.set_store(arguments.Get("store").value_or(""));
  if (const auto severity = arguments.Get("min-severity")) {
    v1::EventSeverity wanted = v1::EVENT_SEVERITY_UNSPECIFIED;
    // One of the flag's choices, which are the enum's words.
    v1::EventSeverity_Parse(
        absl::StrCat("EVENT_SEVERITY_", absl::AsciiStrToUpper(*severity)),
        &wanted);
    request.set_min_severity(wanted);
  }
  const std::unique_ptr<v1::EventService::Stub> stub =
      v1::EventService::NewStub(connection->channel());
  while (true) {
    grpc::ClientContext context;
    if (!follow) SetCallDeadline(context);
    const auto stream = stub->WatchEvents(&context, request);
    v1::WatchEventsResponse response;
    bool progress = false;
    while (stream->Read(&response)) {
      progress = true;
      if (!response.resume_token().empty()) {
        request.set_resume_token(response.resume_token());
      }
      const std::string line = Line(response, json);
      if (line.empty()) continue;
      if (const int printed = Print(line + "\n"); printed != kExitOk) {
        context.TryCancel();
        stream->Finish();
        return printed;
      }
    }
    const grpc::Status status = stream->Finish();
    if (status.ok()) return kExitOk;
    const Failure failure = connection->Explain(status);
    // A terminal that was stopped for a while is no reason to give up: the
    // token says where to go on, and what is gone by then arrives as a gap.
    if (follow && progress && failure.reason == reason::kSlowConsumer) continue;
    return Report(failure);
  }
}

}  // namespace callgate::cli
