// An absl::Status as gRPC sends it, in one place: code, message, and the
// details that clients act on.
//
// Every status that is not OK leaves with an ErrorInfo; where nothing gave a
// reason it is the code's own name, so that a client can tell the daemon's
// words from the transport's. Messages and details are cut to what fits the
// trailers of a client with gRPC's default settings. Pure functions; any
// thread.

#ifndef CALLGATE_SERVER_SERVICES_STATUS_TO_GRPC_H_
#define CALLGATE_SERVER_SERVICES_STATUS_TO_GRPC_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace callgate {

grpc::Status StatusToGrpc(const absl::Status& status);

// Adds a google.rpc.BadRequest: (field, description) of each violation.
absl::Status WithViolations(
    absl::Status status,
    const std::vector<std::pair<std::string, std::string>>& violations);

// "OK", "INVALID_ARGUMENT", …
const char* GrpcCodeName(grpc::StatusCode code);

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_STATUS_TO_GRPC_H_
