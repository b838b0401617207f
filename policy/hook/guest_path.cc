#include "policy/hook/guest_path.h"

namespace callgate::policy {
namespace {

// The last component of `path`, which ends without a slash.
absl::string_view LastOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? path : path.substr(slash + 1);
}

// Appends the components of `path`. `root` is how much of the text can't go.
bool Append(absl::string_view path, size_t root, size_t bytes_max,
            std::string* joined) {
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const absl::string_view word = path.substr(0, slash);
    path.remove_prefix(slash == absl::string_view::npos ? path.size()
                                                        : slash + 1);
    if (word.empty() || word == ".") continue;
    const bool has_one = joined->size() > root;
    if (word == ".." && has_one && LastOf(*joined) != "..") {
      const size_t cut = joined->rfind('/');
      joined->resize(cut == std::string::npos || cut < root ? root : cut);
      continue;
    }
    if (joined->size() + word.size() + 1 > bytes_max) return false;
    if (has_one) joined->push_back('/');
    joined->append(word.data(), word.size());
  }
  return true;
}

}  // namespace

bool JoinGuestPath(absl::string_view directory, absl::string_view path,
                   size_t bytes_max, std::string* joined) {
  joined->clear();
  size_t root = 0;
  if (!directory.empty() && directory.front() == '/') {
    joined->push_back('/');
    root = 1;
  }
  return Append(directory, root, bytes_max, joined) &&
         Append(path, root, bytes_max, joined);
}

}  // namespace callgate::policy
