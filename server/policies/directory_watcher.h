// Tells when the policy directory has changed, so that a change there is in
// force without anybody asking.
//
// The kernel tells of changes (inotify): of files written and closed, renamed
// in, linked or removed, and of the directory itself being swapped, be it a
// link, be it a directory that is renamed. So a ConfigMap, which is swapped by
// renaming one link, is one change. Where the kernel is silent, as on network
// file systems or for files behind links that lead elsewhere, the times and
// sizes of the files are looked at now and then.
//
// A change is told when the directory has been quiet for a moment, and at the
// latest some time after it began, so that a directory that never rests is
// followed too, at a bounded rate. Nothing is told of what looks as it did when
// it was told of last. A thread of its own that sleeps otherwise.

#ifndef CALLGATE_SERVER_POLICIES_DIRECTORY_WATCHER_H_
#define CALLGATE_SERVER_POLICIES_DIRECTORY_WATCHER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace callgate::policies {

class DirectoryWatcher {
 public:
  struct Options {
    std::string directory;
    // LookOf() it when it was read last, so that what happened since is told.
    // None: it is read after Start.
    std::optional<std::string> look;
    absl::Duration quiet = absl::Milliseconds(100);
    absl::Duration patience = absl::Seconds(1);
    // Between the end of one call of `on_change` and the next.
    absl::Duration pause = absl::Milliseconds(200);
    // Between looks where nothing was told.
    absl::Duration look_every = absl::Seconds(10);
  };

  // `on_change` is called on the watcher's thread. Unavailable: the kernel
  // gives no more watchers; the message says which setting to raise.
  static absl::StatusOr<std::unique_ptr<DirectoryWatcher>> Start(
      Options options, std::function<void()> on_change);

  // Waits for an `on_change` that runs.
  ~DirectoryWatcher();
  DirectoryWatcher(const DirectoryWatcher&) = delete;
  DirectoryWatcher& operator=(const DirectoryWatcher&) = delete;

 private:
  DirectoryWatcher(Options options, std::function<void()> on_change,
                   int notify_fd, int stop_fd);

  void Run();
  // Watches the directory as its name leads to it now, and what the name is in.
  // Again is fine, and needed after a swap.
  void Watch();
  // Takes what the kernel has told.
  bool Drain();
  // Sleeps until something happens, or until `when`.
  enum class Woken { kChange, kTime, kStop };
  Woken Sleep(absl::Time when);

  // Constant after construction.
  const Options options_;
  const std::function<void()> on_change_;
  const int notify_fd_;
  const int stop_fd_;
  // What the name is in, and its last part.
  std::string parent_;
  std::string base_;

  // Of the thread.
  int directory_watch_ = -1;
  int parent_watch_ = -1;
  std::string told_;  // how the directory looked

  std::thread thread_;
};

// How the directory looks: which policy files there are, and whatever of each
// changes when its text does. Different looks mean that it has to be read.
std::string LookOf(const std::string& directory);

}  // namespace callgate::policies

#endif  // CALLGATE_SERVER_POLICIES_DIRECTORY_WATCHER_H_
