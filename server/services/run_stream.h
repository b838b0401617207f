// StoreService.RunStream: one command from its first argument to its exit code,
// with its standard streams live.

#ifndef CALLGATE_SERVER_SERVICES_RUN_STREAM_H_
#define CALLGATE_SERVER_SERVICES_RUN_STREAM_H_

#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/callgate/v1/store_service.pb.h"
#include "server/services/service_parts.h"

namespace callgate {

// The reactor deletes itself when gRPC is done with it.
grpc::ServerBidiReactor<v1::RunStreamRequest, v1::RunStreamResponse>*
StartRunStream(const ServiceParts& parts, grpc::CallbackServerContext* context);

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_RUN_STREAM_H_
