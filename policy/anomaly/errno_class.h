// Which class an errno of WASI preview 1 is of.

#ifndef CALLGATE_POLICY_ANOMALY_ERRNO_CLASS_H_
#define CALLGATE_POLICY_ANOMALY_ERRNO_CLASS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "policy/anomaly/shape.h"

namespace callgate::policy::anomaly {

ErrnoClass ClassOfErrno(uint32_t guest_errno);

// "pending", "ok", "again", …
absl::string_view ErrnoClassName(ErrnoClass errno_class);

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_ERRNO_CLASS_H_
