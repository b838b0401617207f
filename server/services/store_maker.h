// Makes a Store of what a request asks for: module, policies, budgets,
// directories and stubs, each checked.

#ifndef CALLGATE_SERVER_SERVICES_STORE_MAKER_H_
#define CALLGATE_SERVER_SERVICES_STORE_MAKER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/callgate/v1/store_service.pb.h"
#include "server/policy_choice.h"
#include "server/services/service_parts.h"
#include "server/session.h"
#include "server/store_registry.h"

namespace callgate {

// What a request may carry.
inline constexpr size_t kArgumentsMax = 4'096;        // args, and env
inline constexpr size_t kArgumentBytesMax = 1 << 20;  // of args and env
inline constexpr size_t kDirsMax = 64;
inline constexpr size_t kStubsMax = 256;
inline constexpr size_t kLabelsMax = 64;
inline constexpr size_t kLabelBytesMax = 256;

// Where a Store's streams go; as in SessionConfig.
struct StoreStreams {
  // For one run, forgotten when it has ended.
  bool transient = false;
  int stdin_fd = -1;
  OutputSink* output = nullptr;
};

// The Store is in the registry and not yet instantiated. Waits for the disk and
// for compilations. Reasons: see store_service.proto.
absl::StatusOr<std::shared_ptr<StoreEntry>> MakeStore(
    const ServiceParts& parts, const std::string& tenant,
    const v1::StoreConfig& config, const StoreStreams& streams);

// The policies that judge a Store of a module with these labels.
absl::StatusOr<PolicyList> SelectPolicies(
    const ServiceParts& parts, const std::string& tenant,
    const std::map<std::string, std::string>& module_labels,
    const v1::StoreConfig& config);

// InvalidArgument BAD_ARGUMENT for too many or too long ones.
absl::StatusOr<std::map<std::string, std::string>> LabelsFromProto(
    const google::protobuf::Map<std::string, std::string>& labels);

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_STORE_MAKER_H_
