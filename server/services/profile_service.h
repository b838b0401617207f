// ProfileService: names into the book of profiles, and profiles into responses.
// Thread-safe.

#ifndef CALLGATE_SERVER_SERVICES_PROFILE_SERVICE_H_
#define CALLGATE_SERVER_SERVICES_PROFILE_SERVICE_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/anomaly/profile_book.h"
#include "proto/callgate/v1/profile_service.grpc.pb.h"
#include "server/services/service_parts.h"

namespace callgate {

class ProfileService final : public v1::ProfileService::CallbackService {
  // The generated base has a blocking form of each method too.
  using Base = v1::ProfileService::CallbackService;
  using Base::ApproveProfile;
  using Base::DeleteProfile;
  using Base::DiffProfiles;
  using Base::FreezeProfile;
  using Base::GetProfile;
  using Base::LearnPolicy;
  using Base::ListProfiles;
  using Base::MergeProfile;
  using Base::RemoveProfileRun;

 public:
  explicit ProfileService(const ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* ListProfiles(
      grpc::CallbackServerContext* context,
      const v1::ListProfilesRequest* request,
      v1::ListProfilesResponse* response) override;
  grpc::ServerUnaryReactor* GetProfile(grpc::CallbackServerContext* context,
                                       const v1::GetProfileRequest* request,
                                       v1::Profile* response) override;
  grpc::ServerUnaryReactor* ApproveProfile(
      grpc::CallbackServerContext* context,
      const v1::ApproveProfileRequest* request, v1::Profile* response) override;
  grpc::ServerUnaryReactor* FreezeProfile(
      grpc::CallbackServerContext* context,
      const v1::FreezeProfileRequest* request, v1::Profile* response) override;
  grpc::ServerUnaryReactor* RemoveProfileRun(
      grpc::CallbackServerContext* context,
      const v1::RemoveProfileRunRequest* request,
      v1::Profile* response) override;
  grpc::ServerUnaryReactor* MergeProfile(grpc::CallbackServerContext* context,
                                         const v1::MergeProfileRequest* request,
                                         v1::Profile* response) override;
  grpc::ServerUnaryReactor* DiffProfiles(
      grpc::CallbackServerContext* context,
      const v1::DiffProfilesRequest* request,
      v1::DiffProfilesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteProfile(
      grpc::CallbackServerContext* context,
      const v1::DeleteProfileRequest* request,
      google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* LearnPolicy(
      grpc::CallbackServerContext* context,
      const v1::LearnPolicyRequest* request,
      v1::LearnPolicyResponse* response) override;

 private:
  using Change = std::function<absl::Status(policy::anomaly::Profile&)>;

  absl::StatusOr<policy::anomaly::ProfileId> Resolve(
      const std::string& name) const;
  absl::StatusOr<policy::anomaly::Profile> Read(const std::string& name) const;
  // Changes the profile and tells of it, in the response and as an event.
  absl::Status Edit(const std::string& name, const char* action,
                    const Change& change, v1::Profile* response);

  const ServiceParts parts_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_PROFILE_SERVICE_H_
