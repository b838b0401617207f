// The cache's folder, and reading and writing in full.
//
// Everything in the folder is reached through a descriptor of it, so that
// moving or replacing a parent meanwhile cannot lead elsewhere.

#ifndef CALLGATE_RUNTIME_NATIVE_CACHE_FOLDER_H_
#define CALLGATE_RUNTIME_NATIVE_CACHE_FOLDER_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::native {

// Makes the folder where it is missing, for this user alone; its parent must
// be there. PermissionDenied when somebody else owns it or may write to it;
// FailedPrecondition when it is a symbolic link or no folder. The caller closes
// the descriptor.
absl::StatusOr<int> OpenPrivateFolder(const std::string& path);

// False with errno set; on an early end of the file errno is 0.
bool ReadAll(int fd, char* bytes, size_t size);
bool WriteAll(int fd, absl::string_view bytes);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_CACHE_FOLDER_H_
