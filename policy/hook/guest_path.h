// Paths as guests mean them: text, joined and without "." and "..".
//
// Text alone: whoever compares such paths sees to it that no link is followed.

#ifndef CALLGATE_POLICY_HOOK_GUEST_PATH_H_
#define CALLGATE_POLICY_HOOK_GUEST_PATH_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace callgate::policy {

// `path` seen from `directory`, into `joined`: "/config" and "a/../secrets/db"
// are "/config/secrets/db". A ".." that has nothing left to take away stays, so
// it can be seen to lead outside: "/.." + "x" is "/../x". False if the result
// would be longer than `bytes_max`. Allocates only if `joined` has less room.
bool JoinGuestPath(absl::string_view directory, absl::string_view path,
                   size_t bytes_max, std::string* joined);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_GUEST_PATH_H_
