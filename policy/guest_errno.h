// WASI's error numbers, as far as verdicts answer them.

#ifndef CALLGATE_POLICY_GUEST_ERRNO_H_
#define CALLGATE_POLICY_GUEST_ERRNO_H_

#include <cstdint>

namespace callgate::policy {

inline constexpr uint32_t kErrnoMax = 65535;

inline constexpr uint32_t kErrno2Big = 1;         // E2BIG
inline constexpr uint32_t kErrnoAgain = 6;        // EAGAIN
inline constexpr uint32_t kErrnoFault = 21;       // EFAULT
inline constexpr uint32_t kErrnoMfile = 33;       // EMFILE
inline constexpr uint32_t kErrnoNotCapable = 76;  // ENOTCAPABLE

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_GUEST_ERRNO_H_
