// TrialService: traces, replays and explanations. Thread-safe.

#ifndef CALLGATE_SERVER_SERVICES_TRIAL_SERVICE_H_
#define CALLGATE_SERVER_SERVICES_TRIAL_SERVICE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/callgate/v1/trial_service.grpc.pb.h"
#include "server/services/service_parts.h"

namespace callgate {

class TrialService final : public v1::TrialService::CallbackService {
  // The generated base has a blocking form of each method too.
  using Base = v1::TrialService::CallbackService;
  using Base::DeleteTrace;
  using Base::ExplainDecision;
  using Base::ListTraces;
  using Base::ReplayPolicy;
  using Base::StartTrace;
  using Base::StopTrace;

 public:
  explicit TrialService(const ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* StartTrace(grpc::CallbackServerContext* context,
                                       const v1::StartTraceRequest* request,
                                       v1::Trace* response) override;
  grpc::ServerUnaryReactor* StopTrace(grpc::CallbackServerContext* context,
                                      const v1::StopTraceRequest* request,
                                      v1::Trace* response) override;
  grpc::ServerUnaryReactor* ListTraces(
      grpc::CallbackServerContext* context,
      const v1::ListTracesRequest* request,
      v1::ListTracesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteTrace(
      grpc::CallbackServerContext* context,
      const v1::DeleteTraceRequest* request,
      v1::DeleteTraceResponse* response) override;
  grpc::ServerUnaryReactor* ReplayPolicy(
      grpc::CallbackServerContext* context,
      const v1::ReplayPolicyRequest* request,
      v1::ReplayPolicyResponse* response) override;
  grpc::ServerUnaryReactor* ExplainDecision(
      grpc::CallbackServerContext* context,
      const v1::ExplainDecisionRequest* request,
      v1::Explanation* response) override;

 private:
  // FailedPrecondition TRACING_OFF, or the library.
  absl::StatusOr<traces::TraceLibrary*> Traces() const;
  void Tell(absl::string_view action, absl::string_view trace) const;

  const ServiceParts parts_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_TRIAL_SERVICE_H_
