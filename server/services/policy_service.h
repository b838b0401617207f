// PolicyService: policy files into the catalogue, and what is in force into
// responses. Thread-safe.

#ifndef CALLGATE_SERVER_SERVICES_POLICY_SERVICE_H_
#define CALLGATE_SERVER_SERVICES_POLICY_SERVICE_H_

#include "proto/callgate/v1/policy_service.grpc.pb.h"
#include "server/services/service_parts.h"

namespace callgate {

class PolicyService final : public v1::PolicyService::CallbackService {
  // The generated base has a blocking form of each method too.
  using Base = v1::PolicyService::CallbackService;
  using Base::ActivatePolicy;
  using Base::ApplyPolicy;
  using Base::DeactivatePolicy;
  using Base::DeletePolicy;
  using Base::GetPolicy;
  using Base::GetPolicyVersion;
  using Base::ListPolicies;
  using Base::ListPolicyVersions;
  using Base::ReloadPolicies;
  using Base::RollbackPolicy;
  using Base::SetPolicyMode;
  using Base::ValidatePolicy;

 public:
  explicit PolicyService(const ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* ValidatePolicy(
      grpc::CallbackServerContext* context,
      const v1::ValidatePolicyRequest* request,
      v1::ValidatePolicyResponse* response) override;
  grpc::ServerUnaryReactor* ApplyPolicy(
      grpc::CallbackServerContext* context,
      const v1::ApplyPolicyRequest* request,
      v1::ApplyPolicyResponse* response) override;
  grpc::ServerUnaryReactor* GetPolicy(grpc::CallbackServerContext* context,
                                      const v1::GetPolicyRequest* request,
                                      v1::Policy* response) override;
  grpc::ServerUnaryReactor* ListPolicies(
      grpc::CallbackServerContext* context,
      const v1::ListPoliciesRequest* request,
      v1::ListPoliciesResponse* response) override;

  grpc::ServerUnaryReactor* ListPolicyVersions(
      grpc::CallbackServerContext* context,
      const v1::ListPolicyVersionsRequest* request,
      v1::ListPolicyVersionsResponse* response) override;
  grpc::ServerUnaryReactor* GetPolicyVersion(
      grpc::CallbackServerContext* context,
      const v1::GetPolicyVersionRequest* request,
      v1::PolicyVersion* response) override;
  grpc::ServerUnaryReactor* RollbackPolicy(
      grpc::CallbackServerContext* context,
      const v1::RollbackPolicyRequest* request,
      v1::RollbackPolicyResponse* response) override;
  grpc::ServerUnaryReactor* DeletePolicy(
      grpc::CallbackServerContext* context,
      const v1::DeletePolicyRequest* request,
      v1::DeletePolicyResponse* response) override;
  grpc::ServerUnaryReactor* DeactivatePolicy(
      grpc::CallbackServerContext* context,
      const v1::DeactivatePolicyRequest* request,
      v1::DeactivatePolicyResponse* response) override;
  grpc::ServerUnaryReactor* ActivatePolicy(
      grpc::CallbackServerContext* context,
      const v1::ActivatePolicyRequest* request,
      v1::ActivatePolicyResponse* response) override;
  grpc::ServerUnaryReactor* SetPolicyMode(
      grpc::CallbackServerContext* context,
      const v1::SetPolicyModeRequest* request, v1::Policy* response) override;
  grpc::ServerUnaryReactor* ReloadPolicies(
      grpc::CallbackServerContext* context,
      const v1::ReloadPoliciesRequest* request,
      v1::ReloadPoliciesResponse* response) override;

 private:
  const ServiceParts parts_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_POLICY_SERVICE_H_
