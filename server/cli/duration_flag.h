// Flags that are times.

#ifndef CALLGATE_SERVER_CLI_DURATION_FLAG_H_
#define CALLGATE_SERVER_CLI_DURATION_FLAG_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "google/protobuf/duration.pb.h"
#include "server/cli/arguments.h"
#include "server/cli/failure.h"

namespace callgate::cli {

// The flag's value; nothing if it was not given. A wrong usage unless it is
// more than nothing and at most a year.
OrFailure<std::optional<google::protobuf::Duration>> DurationFlag(
    const Arguments& arguments, absl::string_view flag);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_DURATION_FLAG_H_
