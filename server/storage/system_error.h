// What the operating system said, as a Status that names the thing and, where
// there is one, the fix.

#ifndef CALLGATE_SERVER_STORAGE_SYSTEM_ERROR_H_
#define CALLGATE_SERVER_STORAGE_SYSTEM_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace callgate::storage {

// `error` is an errno value, `what` reads "cannot open /var/lib/x". Missing
// rights are PermissionDenied, a path that cannot be InvalidArgument or
// NotFound; what may pass or be mended, as a full disk, is Unavailable.
absl::Status SystemError(int error, absl::string_view what);

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_SYSTEM_ERROR_H_
