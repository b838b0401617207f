// One RPC from its beginning to its end, for the metrics.

#ifndef CALLGATE_SERVER_SERVICES_RPC_RECORD_H_
#define CALLGATE_SERVER_SERVICES_RPC_RECORD_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/status.h"
#include "server/metrics/metrics.h"
#include "server/services/status_to_grpc.h"

namespace callgate {

class RpcRecord {
 public:
  // `service` and `method` as in the .proto; they live for ever.
  RpcRecord(metrics::Metrics& metrics, const char* service, const char* method)
      : metrics_(metrics),
        service_(service),
        method_(method),
        start_(absl::Now()) {}

  // Once.
  void Count(grpc::StatusCode code) {
    metrics_.CountRpc(service_, method_, GrpcCodeName(code),
                      absl::Now() - start_);
  }

 private:
  metrics::Metrics& metrics_;
  const char* const service_;
  const char* const method_;
  const absl::Time start_;
};

// When the caller gives up.
inline absl::Time DeadlineOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max()
             ? absl::InfiniteFuture()
             : absl::FromChrono(deadline);
}

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_RPC_RECORD_H_
