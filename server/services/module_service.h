// ModuleService: uploads into the library, and what the library knows into
// responses. Thread-safe.

#ifndef CALLGATE_SERVER_SERVICES_MODULE_SERVICE_H_
#define CALLGATE_SERVER_SERVICES_MODULE_SERVICE_H_

#include <string>

#include "absl/status/status.h"
#include "proto/callgate/v1/module_service.grpc.pb.h"
#include "server/services/service_parts.h"
#include "server/services/upload.h"

namespace callgate {

class ModuleService final : public v1::ModuleService::CallbackService {
  // The generated base has a blocking form of each method too.
  using Base = v1::ModuleService::CallbackService;
  using Base::DeleteModule;
  using Base::GetModule;
  using Base::ListModules;
  using Base::UploadModule;
  using Base::VerifyModule;

 public:
  explicit ModuleService(const ServiceParts& parts) : parts_(parts) {}

  grpc::ServerReadReactor<v1::UploadModuleRequest>* UploadModule(
      grpc::CallbackServerContext* context,
      v1::UploadModuleResponse* response) override;
  grpc::ServerUnaryReactor* GetModule(grpc::CallbackServerContext* context,
                                      const v1::GetModuleRequest* request,
                                      v1::Module* response) override;
  grpc::ServerUnaryReactor* ListModules(
      grpc::CallbackServerContext* context,
      const v1::ListModulesRequest* request,
      v1::ListModulesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteModule(
      grpc::CallbackServerContext* context,
      const v1::DeleteModuleRequest* request,
      google::protobuf::Empty* response) override;
  grpc::ServerReadReactor<v1::VerifyModuleRequest>* VerifyModule(
      grpc::CallbackServerContext* context,
      v1::VerifyModuleResponse* response) override;

 private:
  using Labels = ModuleLibrary::Labels;

  absl::StatusOr<bool> OnUploadHeader(
      const v1::UploadModuleRequest::Header& header,
      v1::UploadModuleResponse* response);
  absl::Status OnUploadBytes(const v1::UploadModuleRequest::Header& header,
                             std::string bytes,
                             v1::UploadModuleResponse* response);
  absl::Status OnVerifyBytes(const v1::VerifyModuleRequest::Header& header,
                             std::string bytes,
                             v1::VerifyModuleResponse* response);
  // Everything but imports, exports and measurements.
  absl::Status SetRecord(const storage::ModuleRecord& record,
                         v1::Module* module);
  // Everything.
  absl::Status SetModule(const storage::ModuleRecord& record,
                         v1::Module* module);

  const ServiceParts parts_;
  UploadSlots uploads_{kUploadsMax};
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_MODULE_SERVICE_H_
