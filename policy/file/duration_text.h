// Durations as the policy file writes them: "30s", "0.5s", "10m", "1h30m".

#ifndef CALLGATE_POLICY_FILE_DURATION_TEXT_H_
#define CALLGATE_POLICY_FILE_DURATION_TEXT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::policy {

// Never negative; a whole number of nanoseconds below ten thousand years.
struct ParsedDuration {
  int64_t seconds = 0;
  int32_t nanos = 0;
};
inline constexpr int64_t kDurationSecondsMax = 315'576'000'000;

// InvalidArgument says what is wrong and what is allowed.
absl::StatusOr<ParsedDuration> ParseDurationText(absl::string_view text);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_FILE_DURATION_TEXT_H_
