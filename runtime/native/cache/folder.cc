#include "runtime/native/cache/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace callgate::native {

absl::StatusOr<int> OpenPrivateFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot make the folder ", path));
  }
  const int fd =
      open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOTDIR || errno == ELOOP) {
      return absl::FailedPreconditionError(absl::StrCat(
          path, " is a file or a symbolic link; name a folder itself"));
    }
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot open the folder ", path));
  }
  struct stat folder = {};
  absl::Status status;
  if (fstat(fd, &folder) != 0) {
    status = absl::ErrnoToStatus(errno,
                                 absl::StrCat("cannot read the folder ", path));
  } else if (folder.st_uid != geteuid()) {
    status = absl::PermissionDeniedError(
        absl::StrCat("the folder ", path, " belongs to user ", folder.st_uid,
                     ", not to ", geteuid(), "; name another, or chown it"));
  } else if ((folder.st_mode & 022) != 0) {
    status = absl::PermissionDeniedError(
        absl::StrCat("others may write to the folder ", path,
                     "; remove its files, then chmod 700 it"));
  }
  if (status.ok()) return fd;
  close(fd);
  return status;
}

bool ReadAll(int fd, char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t got = read(fd, bytes, size);
    if (got < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    if (got == 0) {
      errno = 0;
      return false;
    }
    bytes += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace callgate::native
