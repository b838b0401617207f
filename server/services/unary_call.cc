#include "server/services/unary_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/error_reason.h"

namespace callgate {

UnaryCall::UnaryCall(const ServiceParts& parts, const char* service,
                     const char* method, absl::Time deadline)
    : record_(parts.metrics, service, method), deadline_(deadline) {}

grpc::ServerUnaryReactor* UnaryCall::Start(const ServiceParts& parts,
                                           const char* service,
                                           const char* method,
                                           grpc::CallbackServerContext* context,
                                           JobRunner* runner, Work work) {
  auto* call = new UnaryCall(parts, service, method, DeadlineOf(*context));
  if (runner == nullptr) {
    call->Run(work);
    call->Answer(call->status_);
  } else if (!runner->TryRun(
                 [call, work = std::move(work)] { call->Run(work); },
                 // So that a caller with its answer does not find the place
                 // of the call that made it still taken.
                 [call] { call->Answer(call->status_); })) {
    call->Answer(ErrorWithReason(
        absl::StatusCode::kResourceExhausted, reason::kTooManyRuns,
        absl::StrCat(runner->capacity(),
                     " requests of this kind are in progress, the maximum; "
                     "try again later")));
  }
  return call;
}

void UnaryCall::Run(const Work& work) {
  status_ = work(*this);
  OnCancelled(nullptr);
}

void UnaryCall::Answer(absl::Status status) {
  const grpc::Status answer = StatusToGrpc(status);
  record_.Count(answer.error_code());
  Finish(answer);
  // Nothing of this may be touched now: OnDone may have come already.
}

void UnaryCall::OnCancelled(std::function<void()> handler) {
  const absl::MutexLock lock(&mu_);
  if (cancelled_ && handler != nullptr) {
    handler();
    return;
  }
  handler_ = std::move(handler);
}

void UnaryCall::OnCancel() {
  // Called under the lock, so that taking the handler back waits for it.
  const absl::MutexLock lock(&mu_);
  cancelled_ = true;
  if (handler_ != nullptr) handler_();
  handler_ = nullptr;
}

}  // namespace callgate
