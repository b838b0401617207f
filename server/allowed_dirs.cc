#include "server/allowed_dirs.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/error_reason.h"
#include "server/events/escape.h"

namespace callgate {
namespace {

struct Free {
  void operator()(char* pointer) const { free(pointer); }
};

// `path` is `directory` or below it, as far as the words say.
bool IsWithin(absl::string_view path, absl::string_view directory) {
  if (directory == "/") return absl::StartsWith(path, "/");
  if (!absl::ConsumePrefix(&path, directory)) return false;
  return path.empty() || path[0] == '/';
}

}  // namespace

absl::StatusOr<AllowedDirs> AllowedDirs::Open(
    const std::vector<std::string>& directories) {
  AllowedDirs allowed;
  for (const std::string& directory : directories) {
    const std::string shown = absl::StrCat(
        "--allow-dir \"", events::EscapeText(directory, 512), "\"");
    const std::unique_ptr<char, Free> real(
        realpath(directory.c_str(), nullptr));
    if (real == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat(shown, ": ", std::strerror(errno),
                       "; make the directory, or leave the flag out"));
    }
    struct stat facts;
    if (stat(real.get(), &facts) != 0 || !S_ISDIR(facts.st_mode)) {
      return absl::FailedPreconditionError(
          absl::StrCat(shown, " is not a directory"));
    }
    // Both the name that the operator wrote and the one it stands for.
    for (const std::string& name : {directory, std::string(real.get())}) {
      std::string trimmed = name;
      while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
      allowed.directories_.push_back(std::move(trimmed));
    }
  }
  std::sort(allowed.directories_.begin(), allowed.directories_.end(),
            [](const std::string& a, const std::string& b) {
              return a.size() != b.size() ? a.size() > b.size() : a < b;
            });
  return allowed;
}

absl::StatusOr<std::string> AllowedDirs::Containing(
    absl::string_view path) const {
  for (const std::string& directory : directories_) {
    if (IsWithin(path, directory)) return directory;
  }
  return ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, reason::kDirNotAllowed,
      absl::StrCat("directory \"", events::EscapeText(path, 512),
                   "\" is not under any --allow-dir of the daemon",
                   directories_.empty() ? ", which has none" : "",
                   "; start callgated with --allow-dir for it, or for a "
                   "directory above it"));
}

}  // namespace callgate
