// EventService: the event log as a stream. Thread-safe.

#ifndef CALLGATE_SERVER_SERVICES_EVENT_SERVICE_H_
#define CALLGATE_SERVER_SERVICES_EVENT_SERVICE_H_

#include "proto/callgate/v1/event_service.grpc.pb.h"
#include "server/services/resume_token.h"
#include "server/services/service_parts.h"

namespace callgate {

class EventService final : public v1::EventService::CallbackService {
  // The generated base has a blocking form of the method too.
  using Base = v1::EventService::CallbackService;
  using Base::WatchEvents;

 public:
  explicit EventService(const ServiceParts& parts)
      : parts_(parts), tokens_(parts.events.epoch()) {}

  grpc::ServerWriteReactor<v1::WatchEventsResponse>* WatchEvents(
      grpc::CallbackServerContext* context,
      const v1::WatchEventsRequest* request) override;

 private:
  const ServiceParts parts_;
  const ResumeTokens tokens_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_EVENT_SERVICE_H_
