// A unary RPC whose work may wait: hands it to whoever runs such work, or does
// it at once where it is short, and answers.
//
// gRPC owns none of it: the reactor deletes itself when gRPC is done with it.

#ifndef CALLGATE_SERVER_SERVICES_UNARY_CALL_H_
#define CALLGATE_SERVER_SERVICES_UNARY_CALL_H_

#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/job_runner.h"
#include "server/services/rpc_record.h"
#include "server/services/service_parts.h"

namespace callgate {

class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // What a method does. The request and response stay until it returns.
  using Work = std::function<absl::Status(UnaryCall& call)>;

  // `runner` null: `work` runs here and now, so it must not wait.
  static grpc::ServerUnaryReactor* Start(const ServiceParts& parts,
                                         const char* service,
                                         const char* method,
                                         grpc::CallbackServerContext* context,
                                         JobRunner* runner, Work work);

  absl::Time deadline() const { return deadline_; }
  // `handler` is called when the caller goes away, at once if it is gone, and
  // at most once. Null takes it back, and waits for one that runs.
  void OnCancelled(std::function<void()> handler);

 private:
  UnaryCall(const ServiceParts& parts, const char* service, const char* method,
            absl::Time deadline);

  void Run(const Work& work);
  // By value: this may be gone before it returns.
  void Answer(absl::Status status);
  void OnCancel() override;
  void OnDone() override { delete this; }

  RpcRecord record_;
  const absl::Time deadline_;
  // What the work came to.
  absl::Status status_;

  absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void()> handler_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_UNARY_CALL_H_
