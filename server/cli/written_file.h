// A file that the client writes.

#ifndef CALLGATE_SERVER_CLI_WRITTEN_FILE_H_
#define CALLGATE_SERVER_CLI_WRITTEN_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace callgate::cli {

// All of `bytes`, in place of what was there. Unavailable names the file and
// what the system said.
absl::Status WriteFile(const std::string& path, absl::string_view bytes);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_WRITTEN_FILE_H_
