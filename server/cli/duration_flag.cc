#include "server/cli/duration_flag.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/cli/quoted.h"

namespace callgate::cli {
namespace {

constexpr absl::Duration kDurationMax = absl::Hours(24 * 365);

}  // namespace

OrFailure<std::optional<google::protobuf::Duration>> DurationFlag(
    const Arguments& arguments, absl::string_view flag) {
  const std::optional<std::string> text = arguments.Get(flag);
  if (!text) return std::optional<google::protobuf::Duration>();
  absl::Duration duration;
  if (!absl::ParseDuration(*text, &duration) ||
      duration <= absl::ZeroDuration() || duration > kDurationMax) {
    return WrongUsage(absl::StrCat("--", flag, " ", Quoted(*text),
                                   " is not a time; write 30s, 10m or 24h"));
  }
  google::protobuf::Duration message;
  message.set_seconds(
      absl::IDivDuration(duration, absl::Seconds(1), &duration));
  message.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return std::optional<google::protobuf::Duration>(message);
}

}  // namespace callgate::cli
