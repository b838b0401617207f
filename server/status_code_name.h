// The names of status codes, as gRPC and its users write them.

#ifndef CALLGATE_SERVER_STATUS_CODE_NAME_H_
#define CALLGATE_SERVER_STATUS_CODE_NAME_H_

namespace callgate {

// By their numbers, which absl::StatusCode and grpc::StatusCode share.
inline constexpr const char* kStatusCodeNames[] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_STATUS_CODE_NAME_H_
