#include "server/policies/policy_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "policy/file/policy_file.h"
#include "server/events/escape.h"
#include "server/storage/system_error.h"

namespace callgate::policies {
namespace {

using storage::SystemError;

absl::StatusOr<std::string> ReadFile(int folder_fd, const std::string& name) {
  const std::string shown = events::EscapeText(name);
  // Not waiting for the other end, should it be a pipe.
  const int fd =
      openat(folder_fd, name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return SystemError(errno, absl::StrCat("cannot open ", shown));
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  struct stat file = {};
  if (fstat(fd, &file) != 0) {
    return SystemError(errno, absl::StrCat("cannot read ", shown));
  }
  if (!S_ISREG(file.st_mode)) {
    return absl::InvalidArgumentError("not a regular file");
  }
  // One byte more than there may be tells a file that is too large, whatever
  // its size was a moment ago.
  std::string text(policy::kPolicyFileBytesMax + 1, '\0');
  size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = read(fd, &text[filled], text.size() - filled);
    if (got < 0) {
      if (errno == EINTR) continue;
      return SystemError(errno, absl::StrCat("cannot read ", shown));
    }
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  if (filled > policy::kPolicyFileBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("larger than the ", policy::kPolicyFileBytesMax,
                     " bytes that a policy file may have"));
  }
  text.resize(filled);
  text.shrink_to_fit();
  return text;
}

}  // namespace

bool IsPolicyFileName(absl::string_view name) {
  if (absl::StartsWith(name, ".")) return false;
  for (const char* suffix : {".yaml", ".yml", ".textproto", ".txtpb"}) {
    if (absl::EndsWith(name, suffix)) return true;
  }
  return false;
}

absl::StatusOr<std::vector<PolicyFileText>> ReadPolicyDirectory(
    const std::string& directory) {
  const std::string what =
      absl::StrCat("cannot read the policy directory ", directory);
  const int folder_fd =
      open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd < 0) {
    const absl::Status status = SystemError(errno, what);
    return absl::Status(
        status.code(),
        absl::StrCat(status.message(), " (--policy-dir names it)"));
  }
  DIR* const folder = fdopendir(folder_fd);
  if (folder == nullptr) {
    const int error = errno;
    close(folder_fd);
    return SystemError(error, what);
  }
  const auto close_folder = absl::MakeCleanup([folder] { closedir(folder); });

  std::vector<std::string> names;
  errno = 0;
  while (const dirent* const entry = readdir(folder)) {
    if (IsPolicyFileName(entry->d_name)) names.emplace_back(entry->d_name);
    if (names.size() > kPolicyFilesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the policy directory ", directory, " has more than ",
                       kPolicyFilesMax, " policy files; take some out"));
    }
    errno = 0;
  }
  if (errno != 0) return SystemError(errno, what);
  std::sort(names.begin(), names.end());

  std::vector<PolicyFileText> files;
  size_t bytes = 0;
  for (const std::string& name : names) {
    PolicyFileText& file = files.emplace_back();
    file.name = name;
    absl::StatusOr<std::string> text = ReadFile(folder_fd, name);
    file.status = text.status();
    if (!text.ok()) continue;
    file.text = *std::move(text);
    bytes += file.text.size();
    if (bytes > kPolicyFilesBytesMax) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the files in the policy directory ", directory, " have more than ",
          kPolicyFilesBytesMax, " bytes together; take some out"));
    }
  }
  return files;
}

}  // namespace callgate::policies
