#include "server/services/trial_service.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "policy/file/policy_file.h"
#include "policy/trial/replay.h"
#include "server/error_reason.h"
#include "server/events/escape.h"
#include "server/policy_replay.h"
#include "server/services/messages.h"
#include "server/services/status_to_grpc.h"
#include "server/services/unary_call.h"

namespace callgate {
namespace {

using policy::trial::ReplayChange;
using policy::trial::ReplayOptions;
using policy::trial::ReplayReport;

constexpr char kService[] = "callgate.v1.TrialService";
constexpr absl::Duration kDefaultDuration = absl::Minutes(10);
constexpr size_t kFileNameBytesMax = 512;
constexpr size_t kDecisionIdBytesMax = 256;
// Of the changes in one response.
constexpr size_t kChangesBytesMax = 3 << 20;

absl::Status BadArgument(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                         reason::kBadArgument, message);
}

v1::Trace TraceToProto(const traces::TraceInfo& trace) {
  v1::Trace message;
  message.set_name(absl::StrCat("traces/", trace.name));
  *message.mutable_start_time() = ToProto(trace.begin);
  *message.mutable_end_time() = ToProto(trace.end);
  message.set_size_bytes(trace.bytes);
  message.set_recording(trace.recording);
  message.set_end_reason(trace.end_reason);
  return message;
}

// The library's status, with the reason that its code means there.
absl::Status Explain(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
      return WithReason(status, reason::kTraceRecording);
    case absl::StatusCode::kNotFound:
      return WithReason(status, reason::kTraceNotFound);
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kInvalidArgument:
      return WithReason(absl::DataLossError(status.message()),
                        reason::kTraceDamaged);
    default:
      return status;
  }
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
                       " problem(s) and cannot be replayed; the first: ",
                       problems.front().ToString())),
      violations);
}

void FillReport(const ReplayReport& report, v1::ReplayPolicyResponse* out) {
  size_t bytes = 0;
  for (const ReplayChange& change : report.changes) {
    v1::ReplayChange message;
    *message.mutable_time() = ToProto(change.wall);
    message.set_store(events::EscapeText(change.store_id));
    message.set_tenant(events::EscapeText(change.tenant));
    message.set_subject(events::EscapeText(change.subject));
    message.set_before(events::EscapeText(change.before.ToString()));
    message.set_after(events::EscapeText(change.after.ToString()));
    message.set_message(change.after.message);
    message.set_uncertain(change.uncertain);
    message.set_trace(change.trace);
    message.set_event(change.event);
    bytes += message.ByteSizeLong();
    if (bytes > kChangesBytesMax) break;
    *out->add_changes() = std::move(message);
  }
  out->set_events(report.events);
  out->set_changed(report.changed);
  out->set_uncertain(report.uncertain);
  out->set_stores(report.stores);
  out->set_stores_left_out(report.stores_skipped);
  out->set_events_left_out(report.events_skipped);
  for (const auto& [move, count] : report.moves) {
    v1::ReplayMove* message = out->add_moves();
    message->set_before(std::string(policy::VerdictName(move.first)));
    message->set_after(std::string(policy::VerdictName(move.second)));
    message->set_count(count);
  }
  out->set_cut_off(report.cut_off);
}

}  // namespace

absl::StatusOr<traces::TraceLibrary*> TrialService::Traces() const {
  if (parts_.traces != nullptr) return parts_.traces;
  return NoTraces();
}

void TrialService::Tell(absl::string_view action,
                        absl::string_view trace) const {
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_NOTICE);
  event.set_action(std::string(action));
  event.set_message(absl::StrCat("trace ", trace));
  parts_.events.Publish(std::move(event));
}

grpc::ServerUnaryReactor* TrialService::StartTrace(
    grpc::CallbackServerContext* context, const v1::StartTraceRequest* request,
    v1::Trace* response) {
  return UnaryCall::Start(
      parts_, kService, "StartTrace", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        const absl::StatusOr<traces::TraceLibrary*> traces = Traces();
        if (!traces.ok()) return traces.status();
        const absl::StatusOr<std::optional<absl::Duration>> duration =
            PositiveDuration("duration", request->has_duration(),
                             request->duration());
        if (!duration.ok()) return duration.status();
        const absl::StatusOr<traces::TraceInfo> trace =
            (*traces)->Start(duration->value_or(kDefaultDuration));
        if (!trace.ok()) return Explain(trace.status());
        *response = TraceToProto(*trace);
        Tell("trace_started", trace->name);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* TrialService::StopTrace(
    grpc::CallbackServerContext* context, const v1::StopTraceRequest*,
    v1::Trace* response) {
  return UnaryCall::Start(
      parts_, kService, "StopTrace", context, &parts_.control,
      [this, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<traces::TraceLibrary*> traces = Traces();
        if (!traces.ok()) return traces.status();
        const absl::StatusOr<traces::TraceInfo> trace = (*traces)->Stop();
        if (!trace.ok() && !absl::IsFailedPrecondition(trace.status())) {
          return trace.status();
        }
        if (!trace.ok()) {
          return WithReason(absl::NotFoundError(trace.status().message()),
                            reason::kTraceNotFound);
        }
        if (!trace.ok()) return trace.status();
        *response = TraceToProto(*trace);
        Tell("trace_stopped", trace->name);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* TrialService::ListTraces(
    grpc::CallbackServerContext* context, const v1::ListTracesRequest*,
    v1::ListTracesResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ListTraces", context, &parts_.control,
      [this, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<traces::TraceLibrary*> traces = Traces();
        if (!traces.ok()) return traces.status();
        for (const traces::TraceInfo& trace : (*traces)->List()) {
          *response->add_traces() = TraceToProto(trace);
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* TrialService::DeleteTrace(
    grpc::CallbackServerContext* context, const v1::DeleteTraceRequest* request,
    v1::DeleteTraceResponse*) {
  return UnaryCall::Start(
      parts_, kService, "DeleteTrace", context, &parts_.control,
      [this, request](UnaryCall&) -> absl::Status {
        const absl::StatusOr<traces::TraceLibrary*> traces = Traces();
        if (!traces.ok()) return traces.status();
        const absl::string_view name =
            absl::StripPrefix(request->name(), "traces/");
        const absl::Status status = (*traces)->Remove(name);
        if (!status.ok()) return Explain(status);
        Tell("trace_removed", name);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* TrialService::ReplayPolicy(
    grpc::CallbackServerContext* context,
    const v1::ReplayPolicyRequest* request,
    v1::ReplayPolicyResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ReplayPolicy", context, &parts_.control,
      [this, request, response](UnaryCall& call) -> absl::Status {
        const absl::StatusOr<traces::TraceLibrary*> traces = Traces();
        if (!traces.ok()) return traces.status();
        if (request->source().size() > policy::kPolicyFileBytesMax ||
            request->file_name().size() > kFileNameBytesMax) {
          return BadArgument("source or file_name is too long");
        }
        const policy::CompileResult compiled =
            parts_.policies.Compile(request->source(), request->file_name());
        if (!compiled.ok()) return InvalidPolicy(compiled.problems);
        for (const policy::Problem& warning : compiled.warnings) {
          response->add_warnings(warning.ToString());
        }

        ReplayOptions options;
        std::vector<std::string> names;
        switch (request->what_case()) {
          case v1::ReplayPolicyRequest::kTrace:
            names.emplace_back(absl::StripPrefix(request->trace(), "traces/"));
            break;
          case v1::ReplayPolicyRequest::kSince: {
            const absl::StatusOr<std::optional<absl::Duration>> since =
                PositiveDuration("since", true, request->since());
            if (!since.ok()) return since.status();
            options.since = absl::Now() - **since;
            names = TracesOf(**traces, "", options.since);
            break;
          }
          default:
            return BadArgument("say which trace, or since when");
        }
        const std::shared_ptr<const policy::PolicySet> in_force =
            parts_.policies.current();
        options.judges = [&](const policy::trial::ReplayedStore& store) {
          return JudgesWith(*in_force, compiled.policy, request->alone(),
                            store);
        };
        std::atomic<bool> cancelled{false};
        call.OnCancelled([&cancelled] { cancelled = true; });
        options.keep_going = [&] {
          return !cancelled && !parts_.draining &&
                 absl::Now() < call.deadline();
        };
        ReplayReport report;
        const absl::Status status =
            ReplayTraces(**traces, names, std::move(options), &report);
        call.OnCancelled(nullptr);
        if (!status.ok()) return status;
        FillReport(report, response);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* TrialService::ExplainDecision(
    grpc::CallbackServerContext* context,
    const v1::ExplainDecisionRequest* request, v1::Explanation* response) {
  return UnaryCall::Start(
      parts_, kService, "ExplainDecision", context, nullptr,
      [this, request, response](UnaryCall&) -> absl::Status {
        if (request->decision_id().size() > kDecisionIdBytesMax) {
          return BadArgument("decision_id is too long");
        }
        std::optional<v1::Explanation> explanation =
            parts_.explanations.Find(request->decision_id());
        if (!explanation) {
          return ErrorWithReason(
              absl::StatusCode::kNotFound, reason::kDecisionNotFound,
              absl::StrCat("there is no decision ",
                           events::EscapeText(request->decision_id(), 80),
                           ", or it is too long ago: the newest are kept, and "
                           "none that simply allowed a call"));
        }
        *response = *std::move(explanation);
        return absl::OkStatus();
      });
}

}  // namespace callgate
