#include "server/storage/system_error.h"

#include <errno.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace callgate::storage {
namespace {

absl::string_view Fix(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return "; give the daemon's user the right to it, or name another place";
    case EROFS:
      return "; the file system is mounted read-only, name another place";
    case ENOENT:
      return "; make its parent directory first";
    case ENOTDIR:
      return "; a part of the path is a file, name another place";
    case ENOSPC:
    case EDQUOT:
      return "; free some space on that disk";
    case EMFILE:
    case ENFILE:
      return "; raise the limit of open files (ulimit -n)";
    default:
      return "";
  }
}

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOENT:
      return absl::StatusCode::kNotFound;
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

}  // namespace

absl::Status SystemError(int error, absl::string_view what) {
  const absl::Status plain = absl::ErrnoToStatus(error, what);
  return absl::Status(CodeOf(error), absl::StrCat(plain.message(), Fix(error)));
}

}  // namespace callgate::storage
