// Durations and times as they arrive from the daemon. Pure functions.

#ifndef CALLGATE_SERVER_CLI_DURATION_MESSAGE_H_
#define CALLGATE_SERVER_CLI_DURATION_MESSAGE_H_

#include <string>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace callgate::cli {

inline absl::Duration DurationOf(const google::protobuf::Duration& message) {
  return absl::Seconds(message.seconds()) + absl::Nanoseconds(message.nanos());
}

// "2026-11-22T13:23:32Z", or empty where the time is not set.
inline std::string TimeText(const google::protobuf::Timestamp& message) {
  if (message.seconds() == 0) return "";
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%SZ",
                          absl::FromUnixSeconds(message.seconds()),
                          absl::UTCTimeZone());
}

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_DURATION_MESSAGE_H_
