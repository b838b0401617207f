// Profiles as bytes: what is kept on disk and sent about.
//
// Equal profiles have equal bytes, whatever order they were learned in: all is
// sorted, and nothing is left over. The first eight bytes are a mark and the
// format's version.

#ifndef CALLGATE_POLICY_ANOMALY_PROFILE_BYTES_H_
#define CALLGATE_POLICY_ANOMALY_PROFILE_BYTES_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/anomaly/profile.h"

namespace callgate::policy::anomaly {

inline constexpr size_t kProfileBytesMax = 16 << 20;

std::string SerialiseProfile(const Profile& profile);

// Any bytes give a profile or InvalidArgument. What it takes is what
// SerialiseProfile made: other bytes for the same profile are refused.
absl::StatusOr<Profile> ParseProfile(absl::string_view bytes);

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_PROFILE_BYTES_H_
