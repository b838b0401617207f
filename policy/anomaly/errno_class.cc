#include "policy/anomaly/errno_class.h"

namespace callgate::policy::anomaly {

ErrnoClass ClassOfErrno(uint32_t guest_errno) {
  switch (guest_errno) {
    case 0:
      return ErrnoClass::kOk;
    case 6:   // AGAIN
    case 7:   // ALREADY
    case 26:  // INPROGRESS
    case 27:  // INTR
    case 73:  // TIMEDOUT
      return ErrnoClass::kAgain;
    case 20:  // EXIST
    case 31:  // ISDIR
    case 32:  // LOOP
    case 37:  // NAMETOOLONG
    case 44:  // NOENT
    case 54:  // NOTDIR
    case 55:  // NOTEMPTY
      return ErrnoClass::kAbsent;
    case 2:   // ACCES
    case 63:  // PERM
    case 69:  // ROFS
    case 76:  // NOTCAPABLE
      return ErrnoClass::kDenied;
    case 1:   // 2BIG
    case 8:   // BADF
    case 21:  // FAULT
    case 28:  // INVAL
    case 52:  // NOSYS
    case 58:  // NOTSUP
    case 59:  // NOTTY
    case 61:  // OVERFLOW
    case 68:  // RANGE
    case 70:  // SPIPE
      return ErrnoClass::kInvalid;
    default:
      return ErrnoClass::kFailed;
  }
}

absl::string_view ErrnoClassName(ErrnoClass errno_class) {
  switch (errno_class) {
    case ErrnoClass::kPending:
      return "pending";
    case ErrnoClass::kOk:
      return "ok";
    case ErrnoClass::kAgain:
      return "again";
    case ErrnoClass::kAbsent:
      return "absent";
    case ErrnoClass::kDenied:
      return "denied";
    case ErrnoClass::kInvalid:
      return "invalid";
    case ErrnoClass::kFailed:
      return "failed";
    case ErrnoClass::kStopped:
      return "stopped";
  }
  return "unknown";
}

}  // namespace callgate::policy::anomaly
