#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "proto/callgate/v1/trial_service.grpc.pb.h"
#include "server/cli/commands.h"
#include "server/cli/connection.h"
#include "server/cli/console.h"
#include "server/cli/duration_flag.h"
#include "server/cli/duration_message.h"
#include "server/cli/exit_codes.h"
#include "server/cli/message_json.h"
#include "server/cli/policy_text.h"
#include "server/cli/text_table.h"
#include "server/events/escape.h"

namespace callgate::cli {
namespace {

using events::EscapeText;

// A replay reads all of a trace.
constexpr absl::Duration kReplayDeadline = absl::Minutes(30);

std::string BareName(const std::string& name) {
  return std::string(absl::StripPrefix(name, "traces/"));
}

std::string ChangeLine(const v1::ReplayChange& change) {
  std::string line = absl::StrCat(
      "trace ", EscapeText(change.trace()), ", event ", change.event(), " ",
      TimeText(change.time()), " Store ", EscapeText(change.store()), " of ",
      EscapeText(change.tenant()), ", ", EscapeText(change.subject()), ": was ",
      EscapeText(change.before()), ", would be ", EscapeText(change.after()));
  if (!change.message().empty()) {
    absl::StrAppend(&line, " (", EscapeText(change.message()), ")");
  }
  if (change.uncertain()) absl::StrAppend(&line, " [uncertain]");
  return absl::StrCat(line, "\n");
}

std::string ReplayText(const v1::ReplayPolicyResponse& report) {
  std::string text;
  for (const v1::ReplayChange& change : report.changes()) {
    absl::StrAppend(&text, ChangeLine(change));
  }
  const auto shown = static_cast<uint64_t>(report.changes_size());
  if (report.changed() > shown) {
    absl::StrAppend(&text, "and ", report.changed() - shown, " more\n");
  }
  for (const v1::ReplayMove& move : report.moves()) {
    absl::StrAppend(&text, move.before(), " -> ", move.after(), ": ",
                    move.count(), "\n");
  }
  absl::StrAppend(&text, report.events(), " events of ",
                  report.stores() - report.stores_left_out(), " Stores, ",
                  report.changed(), " changed, ", report.uncertain(),
                  " of them uncertain\n");
  if (report.stores_left_out() > 0) {
    absl::StrAppend(&text, "left out: ", report.events_left_out(),
                    " events of ", report.stores_left_out(),
                    " Stores that the policy is not for\n");
  }
  if (report.cut_off()) {
    absl::StrAppend(&text, "a trace's last record is cut off\n");
  }
  return text;
}

std::string ExplanationText(const v1::Explanation& why) {
  std::string text =
      absl::StrCat(EscapeText(why.subject()), ": ", EscapeText(why.verdict()));
  if (why.verdict() == "deny") {
    absl::StrAppend(&text, "(", why.guest_errno(), ")");
  }
  if (why.has_delay()) {
    absl::StrAppend(&text, " for ",
                    absl::FormatDuration(DurationOf(why.delay())));
  }
  if (why.would_be_verdict() != why.verdict()) {
    absl::StrAppend(&text, ", under audit ",
                    EscapeText(why.would_be_verdict()));
  }
  absl::StrAppend(&text, ", by ", EscapeText(why.policy()), "/",
                  EscapeText(why.rule()), ": ", EscapeText(why.message()),
                  "\n");
  std::vector<std::vector<std::string>> rows = {
      {"time", TimeText(why.time())},
      {"tenant", EscapeText(why.tenant())},
      {"store", EscapeText(why.store())},
      {"module", EscapeText(why.module_digest())}};
  if (!why.budget().empty()) rows.push_back({"budget", why.budget()});
  absl::StrAppend(&text, TextTable(rows));
  rows = {{"RULE", "VERDICT", "MODE", "SEVERITY", "TAGS", "MESSAGE"}};
  for (const v1::Explanation::Match& match : why.matches()) {
    rows.push_back({absl::StrCat(EscapeText(match.policy()), "/",
                                 EscapeText(match.rule())),
                    EscapeText(match.verdict()), EscapeText(match.mode()),
                    EscapeText(match.severity()),
                    match.tags().empty()
                        ? "-"
                        : EscapeText(absl::StrJoin(match.tags(), ",")),
                    EscapeText(match.message())});
  }
  absl::StrAppend(&text, "rules that were true\n", TextTable(rows));
  const auto facts = [&text](absl::string_view title, const auto& list) {
    if (list.empty()) return;
    std::vector<std::vector<std::string>> table;
    for (const v1::Explanation::Fact& fact : list) {
      table.push_back({"", fact.name(), fact.text()});
    }
    absl::StrAppend(&text, title, "\n", TextTable(table));
  };
  if (!why.conditions().empty()) {
    rows = {{"CONDITION OF", "ANSWER", "EXCEPTION"}};
    for (const v1::Explanation::Condition& each : why.conditions()) {
      rows.push_back(
          {absl::StrCat(EscapeText(each.policy()), "/",
                        EscapeText(each.rule())),
           EscapeText(each.answer()),
           each.exception().empty() ? "-" : EscapeText(each.exception())});
    }
    absl::StrAppend(&text, "conditions that were asked\n", TextTable(rows));
  }
  facts("facts", why.facts());
  facts("what rules about the past remembered", why.state());
  return text;
}

}  // namespace

int TraceRecord(const Arguments& arguments) {
  OrFailure<std::optional<google::protobuf::Duration>> duration =
      DurationFlag(arguments, "for");
  if (!duration.ok()) return Report(duration.failure());
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::StartTraceRequest request;
  if (*duration) *request.mutable_duration() = **duration;
  v1::Trace trace;
  const grpc::Status status = v1::TrialService::NewStub(connection->channel())
                                  ->StartTrace(&context, request, &trace);
  if (!status.ok()) return Report(connection->Explain(status));
  Say(absl::StrCat("recording until ", TimeText(trace.end_time())));
  return Print(absl::StrCat(EscapeText(BareName(trace.name())), "\n"));
}

int TraceStop(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::Trace trace;
  const grpc::Status status =
      v1::TrialService::NewStub(connection->channel())
          ->StopTrace(&context, v1::StopTraceRequest(), &trace);
  if (!status.ok()) return Report(connection->Explain(status));
  return Print(absl::StrCat(EscapeText(BareName(trace.name())), "\n"));
}

int TraceLs(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::ListTracesResponse response;
  const grpc::Status status =
      v1::TrialService::NewStub(connection->channel())
          ->ListTraces(&context, v1::ListTracesRequest(), &response);
  if (!status.ok()) return Report(connection->Explain(status));
  std::string lines;
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "BEGUN", "ENDED", "BYTES", "STATE"}};
  for (const v1::Trace& trace : response.traces()) {
    absl::StrAppend(&lines, MessageJson(trace), "\n");
    rows.push_back(
        {EscapeText(BareName(trace.name())), TimeText(trace.start_time()),
         TimeText(trace.end_time()), absl::StrCat(trace.size_bytes()),
         trace.recording() ? "recording"
         : trace.end_reason().empty()
             ? "complete"
             : EscapeText(absl::StrCat("ended: ", trace.end_reason()))});
  }
  return Print(arguments.Has("json") ? lines : TextTable(rows));
}

int TraceRm(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  const std::unique_ptr<v1::TrialService::Stub> stub =
      v1::TrialService::NewStub(connection->channel());
  int exit_code = kExitOk;
  for (const std::string& name : arguments.operands()) {
    grpc::ClientContext context;
    SetCallDeadline(context);
    v1::DeleteTraceRequest request;
    request.set_name(absl::StrCat("traces/", BareName(name)));
    v1::DeleteTraceResponse response;
    const grpc::Status status = stub->DeleteTrace(&context, request, &response);
    if (status.ok()) continue;
    // The others go all the same.
    exit_code = Report(connection->Explain(status));
    if (exit_code == kExitNoDaemon) break;
  }
  return exit_code;
}

int PolicyReplay(const Arguments& arguments) {
  if (arguments.Has("trace") == arguments.Has("since")) {
    return Fail(kExitUsage, "say either --trace NAME or --since TIME");
  }
  OrFailure<std::optional<google::protobuf::Duration>> since =
      DurationFlag(arguments, "since");
  if (!since.ok()) return Report(since.failure());
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  const std::string& path = arguments.operands()[0];
  OrFailure<std::string> text = ReadPolicyText(path);
  if (!text.ok()) return Report(text.failure());
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kReplayDeadline));
  v1::ReplayPolicyRequest request;
  request.set_source(*std::move(text));
  request.set_file_name(path);
  request.set_alone(arguments.Has("alone"));
  if (*since) {
    *request.mutable_since() = **since;
  } else {
    request.set_trace(
        absl::StrCat("traces/", BareName(*arguments.Get("trace"))));
  }
  v1::ReplayPolicyResponse response;
  const grpc::Status status = v1::TrialService::NewStub(connection->channel())
                                  ->ReplayPolicy(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  for (const std::string& warning : response.warnings()) {
    Say(absl::StrCat("warning: ", warning));
  }
  if (response.events() == 0) {
    Say(response.stores_left_out() > 0
            ? "the replay shows nothing: no Store of what was recorded is one "
              "that the policy is for; --alone judges every Store by it"
        : response.stores() > 0
            ? "the replay shows nothing: in that time the Stores that were "
              "recorded did nothing"
            : "the replay shows nothing: no Store did anything while it was "
              "recorded");
  }
  return Print(arguments.Has("json") ? absl::StrCat(MessageJson(response), "\n")
                                     : ReplayText(response));
}

int PolicyExplain(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::ExplainDecisionRequest request;
  request.set_decision_id(arguments.operands()[0]);
  v1::Explanation response;
  const grpc::Status status =
      v1::TrialService::NewStub(connection->channel())
          ->ExplainDecision(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  return Print(arguments.Has("json") ? absl::StrCat(MessageJson(response), "\n")
                                     : ExplanationText(response));
}

}  // namespace callgate::cli
