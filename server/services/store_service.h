// StoreService: requests into Sessions, outcomes into responses.
//
// Thread-safe. Guests run on the runs' executor; what is short is answered on
// gRPC's own thread, so that KillStore works however busy the daemon is.

#ifndef CALLGATE_SERVER_SERVICES_STORE_SERVICE_H_
#define CALLGATE_SERVER_SERVICES_STORE_SERVICE_H_

#include <deque>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/callgate/v1/store_service.grpc.pb.h"
#include "server/services/service_parts.h"
#include "server/services/unary_call.h"

namespace callgate {

// Answers given to request ids, so that a repeated request is not done twice.
class RequestIds {
 public:
  struct Answer {
    std::string request;  // what was asked, to be compared
    std::string store;    // empty while the first one is being done
    absl::Time time;
  };
  using Key = std::pair<std::string, std::string>;  // tenant, request id

  static constexpr size_t kMax = 10'000;
  static constexpr absl::Duration kKept = absl::Minutes(10);

  // The Store that an earlier request made, or empty: then this one is the
  // first, and Remember or Forget must follow. InvalidArgument when the request
  // is another; Aborted while the first one is being done.
  absl::StatusOr<std::string> Begin(const Key& key, const std::string& request,
                                    absl::Time now);
  void Remember(const Key& key, const std::string& store);
  void Forget(const Key& key);

 private:
  absl::Mutex mu_;
  std::map<Key, Answer> answers_ ABSL_GUARDED_BY(mu_);
  std::deque<std::pair<absl::Time, Key>> ages_ ABSL_GUARDED_BY(mu_);
};

class StoreService final : public v1::StoreService::CallbackService {
  // The generated base has a blocking form of each method too.
  using Base = v1::StoreService::CallbackService;
  using Base::CreateStore;
  using Base::GetStore;
  using Base::Invoke;
  using Base::KillStore;
  using Base::ListStores;
  using Base::ReadMemory;
  using Base::RunStream;
  using Base::WriteMemory;

 public:
  explicit StoreService(const ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* CreateStore(grpc::CallbackServerContext* context,
                                        const v1::CreateStoreRequest* request,
                                        v1::Store* response) override;
  grpc::ServerUnaryReactor* Invoke(grpc::CallbackServerContext* context,
                                   const v1::InvokeRequest* request,
                                   v1::InvokeResponse* response) override;
  grpc::ServerBidiReactor<v1::RunStreamRequest, v1::RunStreamResponse>*
  RunStream(grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* ReadMemory(
      grpc::CallbackServerContext* context,
      const v1::ReadMemoryRequest* request,
      v1::ReadMemoryResponse* response) override;
  grpc::ServerUnaryReactor* WriteMemory(
      grpc::CallbackServerContext* context,
      const v1::WriteMemoryRequest* request,
      v1::WriteMemoryResponse* response) override;
  grpc::ServerUnaryReactor* GetStore(grpc::CallbackServerContext* context,
                                     const v1::GetStoreRequest* request,
                                     v1::Store* response) override;
  grpc::ServerUnaryReactor* ListStores(
      grpc::CallbackServerContext* context,
      const v1::ListStoresRequest* request,
      v1::ListStoresResponse* response) override;
  grpc::ServerUnaryReactor* KillStore(grpc::CallbackServerContext* context,
                                      const v1::KillStoreRequest* request,
                                      v1::Store* response) override;

 private:
  absl::Status DoCreate(UnaryCall& call, const v1::CreateStoreRequest& request,
                        v1::Store* response);
  absl::Status MakeAndInstantiate(UnaryCall& call, const std::string& tenant,
                                  const v1::StoreConfig& config,
                                  v1::Store* response);
  absl::Status DoInvoke(UnaryCall& call, const v1::InvokeRequest& request,
                        v1::InvokeResponse* response);

  const ServiceParts parts_;
  RequestIds request_ids_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_STORE_SERVICE_H_
