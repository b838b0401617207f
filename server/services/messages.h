// Between the runtime's types and the wire's. Pure functions; any thread.

#ifndef CALLGATE_SERVER_SERVICES_MESSAGES_H_
#define CALLGATE_SERVER_SERVICES_MESSAGES_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/repeated_field.h"
#include "google/protobuf/timestamp.pb.h"
#include "proto/callgate/v1/module_service.pb.h"
#include "proto/callgate/v1/outcome.pb.h"
#include "runtime/admission/scan.h"
#include "runtime/value.h"
#include "server/outcome.h"

namespace callgate {

google::protobuf::Timestamp ToProto(absl::Time time);
google::protobuf::Duration ToProto(absl::Duration duration);
// InvalidArgument BAD_ARGUMENT for one that is not more than zero.
absl::StatusOr<std::optional<absl::Duration>> PositiveDuration(
    absl::string_view field, bool present,
    const google::protobuf::Duration& duration);

v1::Value ToProto(const Value& value);
// InvalidArgument BAD_ARGUMENT names the argument.
absl::StatusOr<std::vector<Value>> ValuesFromProto(
    const google::protobuf::RepeatedPtrField<v1::Value>& values);

v1::Outcome ToProto(const Outcome& outcome);

// DeadlineExceeded if the RPC's deadline has passed and the guest was stopped:
// then the caller learns the same whether its own clock or the daemon's was
// first.
absl::Status CheckDeadline(const Outcome& outcome, absl::Time deadline);

// Imports, exports and measurements of a module.
void DescribeModule(const admission::ModuleSummary& summary,
                    const admission::ModuleLimits& limits, v1::Module* module);
v1::ModuleImport ToProto(const ImportType& import);

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_MESSAGES_H_
