// Where a reader of events was, as an opaque token that only this run of the
// daemon can have made.
//
// A token of another run is known by its epoch and not checked further: all it
// can lead to is the answer that those events are gone. Thread-safe.

#ifndef CALLGATE_SERVER_SERVICES_RESUME_TOKEN_H_
#define CALLGATE_SERVER_SERVICES_RESUME_TOKEN_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/callgate/v1/event_service.pb.h"
#include "server/events/event_log.h"

namespace callgate {

class ResumeTokens {
 public:
  // With a key of its own, for tokens of `epoch`.
  explicit ResumeTokens(uint64_t epoch);

  // `filter` is what the reader asked to see.
  std::string Make(const events::Position& position,
                   const v1::WatchEventsRequest& filter) const;
  // InvalidArgument BAD_RESUME_TOKEN: not one of ours, or of another filter.
  absl::StatusOr<events::Position> Read(
      absl::string_view token, const v1::WatchEventsRequest& filter) const;

 private:
  std::string Seal(absl::string_view plain,
                   const v1::WatchEventsRequest& filter) const;

  const uint64_t epoch_;
  const std::string key_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_RESUME_TOKEN_H_
