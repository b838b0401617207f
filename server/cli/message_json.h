// A message of the API as one line of JSON, with the field names of the proto
// files.

#ifndef CALLGATE_SERVER_CLI_MESSAGE_JSON_H_
#define CALLGATE_SERVER_CLI_MESSAGE_JSON_H_

#include <string>

#include "google/protobuf/message.h"

namespace callgate::cli {

// In protobuf's JSON mapping (64-bit numbers are strings there), fields that
// are not set included. No line feed. What could disturb a terminal is escaped.
std::string MessageJson(const google::protobuf::Message& message);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_MESSAGE_JSON_H_
