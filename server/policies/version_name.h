// How people name a version of a policy: by its place in the policy's history,
// "3", or by the first digits of its digest, at least seven: "9f2c01a".

#ifndef CALLGATE_SERVER_POLICIES_VERSION_NAME_H_
#define CALLGATE_SERVER_POLICIES_VERSION_NAME_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/storage/catalogue.h"

namespace callgate::policies {

inline constexpr size_t kDigestDigitsMin = 7;

// "web@3" is {"web", "3"}; without a version the second is empty.
std::pair<std::string, std::string> SplitVersion(absl::string_view name);

// The number of the version that `text` names. Of several entries with one
// digest the newest. InvalidArgument: it is neither form, or the digits fit
// several digests. NotFound lists what there is.
absl::StatusOr<uint64_t> FindVersion(
    absl::string_view text, absl::string_view policy,
    const std::vector<storage::PolicyVersionRecord>& versions);

}  // namespace callgate::policies

#endif  // CALLGATE_SERVER_POLICIES_VERSION_NAME_H_
