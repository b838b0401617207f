#include "server/cli/written_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/cli/console.h"
#include "server/cli/quoted.h"

namespace callgate::cli {

absl::Status WriteFile(const std::string& path, absl::string_view bytes) {
  const auto failed = [&path](absl::string_view why) {
    return absl::UnavailableError(
        absl::StrCat(Quoted(path), " cannot be written: ", why));
  };
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return failed(std::strerror(errno));
  const absl::Status written = WriteAll(fd, bytes);
  if (close(fd) != 0 && written.ok()) return failed(std::strerror(errno));
  return written.ok() ? written : failed(written.message());
}

}  // namespace callgate::cli
