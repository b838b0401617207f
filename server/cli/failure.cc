#include "server/cli/failure.h"

#include <utility>

#include "absl/strings/str_split.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/error_reason.h"
#include "server/outcome.h"

namespace callgate::cli {

int Report(const Failure& failure) {
  const std::pair<absl::string_view, absl::string_view> lines =
      absl::StrSplit(failure.message, absl::MaxSplits('\n', 1));
  Say(lines.first);
  if (!lines.second.empty()) SayMore(lines.second);
  for (const std::string& detail : failure.details) SayMore(detail);
  return failure.exit_code;
}

Failure WrongUsage(absl::string_view message) {
  Failure failure;
  failure.exit_code = kExitUsage;
  failure.message = std::string(message);
  return failure;
}

Failure FailureOf(const absl::Status& status) {
  return FailureOf(ExitCodeOfStatus(status), status);
}

Failure FailureOf(int exit_code, const absl::Status& status) {
  Failure failure;
  failure.exit_code = exit_code;
  failure.message = std::string(status.message());
  failure.reason = ReasonOf(status);
  return failure;
}

}  // namespace callgate::cli
