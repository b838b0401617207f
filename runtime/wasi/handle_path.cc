#include "runtime/wasi/handle_path.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace callgate {
namespace wasi {
namespace {

// Where the host has `fd`; empty if nowhere, or too deep to say.
std::string HostPathOf(int fd) {
  // A directory that was removed is shown where it was.
  struct stat status {};
  if (fstat(fd, &status) != 0 || status.st_nlink == 0) return "";
  std::array<char, PATH_MAX> text{};
  const ssize_t length = readlink(absl::StrCat("/proc/self/fd/", fd).c_str(),
                                  text.data(), text.size());
  if (length <= 0 || static_cast<size_t>(length) == text.size()) return "";
  std::string path(text.data(), static_cast<size_t>(length));
  return path.front() == '/' ? path : "";
}

}  // namespace

std::string JoinHandlePath(absl::string_view directory,
                           absl::string_view path) {
  if (directory.empty()) return "";
  std::string joined = absl::StrCat(absl::StripSuffix(directory, "/"), "/",
                                    absl::StripPrefix(path, "/"));
  if (joined.size() > kGuestPathBytesMax) return "";
  return joined;
}

std::string GuestPathBeneath(const PreopenRoot& root, int fd) {
  const std::string base = HostPathOf(root.fd.get());
  const std::string path = HostPathOf(fd);
  if (base.empty() || path.empty()) return "";
  absl::string_view rest = path;
  if (!absl::ConsumePrefix(&rest, absl::StripSuffix(base, "/"))) return "";
  if (rest.empty() || rest == "/") return root.name;
  return rest.front() == '/' ? JoinHandlePath(root.name, rest) : "";
}

}  // namespace wasi
}  // namespace callgate
