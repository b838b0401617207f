#include "server/policies/directory_watcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/policies/policy_directory.h"
#include "server/storage/system_error.h"

namespace callgate::policies {
namespace {

constexpr uint32_t kDirectoryEvents =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE |
    IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr uint32_t kParentEvents =
    IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ONLYDIR;

// "/a/b/" is {"/a", "b"}; "b" is {".", "b"}.
std::pair<std::string, std::string> SplitPath(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

std::string LookOf(const std::string& directory) {
  const int folder_fd =
      open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd < 0) return absl::StrCat("error ", errno);
  DIR* const folder = fdopendir(folder_fd);
  if (folder == nullptr) {
    close(folder_fd);
    return "error";
  }
  const auto close_folder = absl::MakeCleanup([folder] { closedir(folder); });
  std::vector<std::string> names;
  while (const dirent* const entry = readdir(folder)) {
    if (IsPolicyFileName(entry->d_name)) names.emplace_back(entry->d_name);
    // One more than may be is read as an error, whatever the others are.
    if (names.size() > kPolicyFilesMax) break;
  }
  std::sort(names.begin(), names.end());
  // Never empty.
  std::string look = "files\n";
  for (const std::string& name : names) {
    struct stat file = {};
    if (fstatat(folder_fd, name.c_str(), &file, 0) != 0) {
      absl::StrAppend(&look, name, " error ", errno, "\n");
      continue;
    }
    absl::StrAppend(&look, name, " ", file.st_dev, ":", file.st_ino, " ",
                    file.st_mode, " ", file.st_size, " ", file.st_mtim.tv_sec,
                    ".", file.st_mtim.tv_nsec, " ", file.st_ctim.tv_sec, ".",
                    file.st_ctim.tv_nsec, "\n");
  }
  return look;
}

absl::StatusOr<std::unique_ptr<DirectoryWatcher>> DirectoryWatcher::Start(
    Options options, std::function<void()> on_change) {
  const int notify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (notify_fd < 0) {
    const absl::Status status = storage::SystemError(
        errno,
        absl::StrCat("cannot watch the policy directory ", options.directory));
    return absl::UnavailableError(absl::StrCat(
        status.message(), " (sysctl fs.inotify.max_user_instances bounds it)"));
  }
  const int stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (stop_fd < 0) {
    const int error = errno;
    close(notify_fd);
    return storage::SystemError(error, "cannot watch the policy directory");
  }
  return absl::WrapUnique(new DirectoryWatcher(
      std::move(options), std::move(on_change), notify_fd, stop_fd));
}

DirectoryWatcher::DirectoryWatcher(Options options,
                                   std::function<void()> on_change,
                                   int notify_fd, int stop_fd)
    : options_(std::move(options)),
      on_change_(std::move(on_change)),
      notify_fd_(notify_fd),
      stop_fd_(stop_fd) {
  std::tie(parent_, base_) = SplitPath(options_.directory);
  // In this order: what changes in between is told.
  Watch();
  told_ =
      options_.look.has_value() ? *options_.look : LookOf(options_.directory);
  thread_ = std::thread([this] { Run(); });
}

DirectoryWatcher::~DirectoryWatcher() {
  const uint64_t one = 1;
  while (write(stop_fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  thread_.join();
  close(notify_fd_);
  close(stop_fd_);
}

void DirectoryWatcher::Watch() {
  // A directory that cannot be watched is still looked at now and then.
  const int directory = inotify_add_watch(
      notify_fd_, options_.directory.c_str(), kDirectoryEvents);
  if (directory != directory_watch_ && directory_watch_ >= 0) {
    inotify_rm_watch(notify_fd_, directory_watch_);
  }
  directory_watch_ = directory;
  const int parent =
      inotify_add_watch(notify_fd_, parent_.c_str(), kParentEvents);
  if (parent != parent_watch_ && parent_watch_ >= 0) {
    inotify_rm_watch(notify_fd_, parent_watch_);
  }
  parent_watch_ = parent;
}

bool DirectoryWatcher::Drain() {
  bool any = false;
  alignas(inotify_event) char buffer[4096];
  while (true) {
    const ssize_t got = read(notify_fd_, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return any;
    for (ssize_t at = 0; at < got;) {
      // SAFETY: the kernel writes whole events, aligned as they need to be.
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(*event) + event->len);
      // Of what the directory is in only the directory is of interest.
      if (event->wd == parent_watch_ && parent_watch_ != directory_watch_ &&
          (event->mask & IN_Q_OVERFLOW) == 0 &&
          (event->len == 0 || base_ != event->name)) {
        continue;
      }
      any = true;
    }
  }
}

DirectoryWatcher::Woken DirectoryWatcher::Sleep(absl::Time when) {
  while (true) {
    pollfd fds[] = {{stop_fd_, POLLIN, 0}, {notify_fd_, POLLIN, 0}};
    const absl::Duration left = when - absl::Now();
    if (left <= absl::ZeroDuration()) return Woken::kTime;
    // Rounded up, so that it is not asked again at once.
    const int64_t ms =
        std::min<int64_t>(absl::ToInt64Milliseconds(left) + 1, 60'000);
    const int ready = poll(fds, 2, static_cast<int>(ms));
    if (ready < 0 && errno != EINTR) return Woken::kTime;
    if (fds[0].revents != 0) return Woken::kStop;
    if (ready > 0 && fds[1].revents != 0 && Drain()) return Woken::kChange;
  }
}

void DirectoryWatcher::Run() {
  absl::Time told_at = absl::InfinitePast();
  absl::Time look_at = absl::Now();
  while (true) {
    const Woken woken = Sleep(look_at);
    look_at = absl::Now() + options_.look_every;
    if (woken == Woken::kStop) return;
    if (woken == Woken::kTime && LookOf(options_.directory) == told_) {
      // The watches may have gone with what they were of.
      Watch();
      continue;
    }
    // Until it is quiet, and looks the same before and after the silence.
    const absl::Time latest = absl::Now() + options_.patience;
    std::string look = LookOf(options_.directory);
    while (true) {
      const absl::Time quiet = absl::Now() + options_.quiet;
      const Woken again = Sleep(std::min(quiet, latest));
      if (again == Woken::kStop) return;
      std::string now = LookOf(options_.directory);
      const bool same = now == look;
      look = std::move(now);
      if (absl::Now() >= latest || (again == Woken::kTime && same)) break;
    }
    for (const absl::Time next = told_at + options_.pause;
         absl::Now() < next;) {
      if (Sleep(next) == Woken::kStop) return;
    }
    // Before the directory is read: what happens from here on is news.
    Watch();
    look = LookOf(options_.directory);
    if (look == told_) continue;
    told_ = std::move(look);
    on_change_();
    told_at = absl::Now();
  }
}

}  // namespace callgate::policies
