// The daemon's traces: files in one directory, within a bound of bytes and of
// age, at most one of them being recorded.
//
// All traces together have at most `bytes_max`: where the one that is being
// recorded needs room the oldest go, and when it alone is that large it ends. A
// trace ends at its time, too, and where the disk takes no more; why it did is
// told, and kept as long as the library lives. One that is older than `age_max`
// goes. A daemon that was killed leaves a trace that ends early and can be
// read.
//
// Any thread. Calls wait for the disk; a guest waits for it where a buffer's
// worth of its trace is written.

#ifndef CALLGATE_SERVER_TRACES_TRACE_LIBRARY_H_
#define CALLGATE_SERVER_TRACES_TRACE_LIBRARY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "policy/trial/recording_hook.h"
#include "policy/trial/trace_reader.h"
#include "server/storage/storage_observer.h"

namespace callgate::traces {

struct TraceInfo {
  std::string name;
  absl::Time begin;
  // When it ended, or will at the latest.
  absl::Time end;
  uint64_t bytes = 0;
  bool recording = false;
  // Why it ended by itself, if it did and that is known.
  std::string end_reason;
};

class TraceLibrary {
 public:
  struct Options {
    std::string directory;  // made where it is missing
    uint64_t bytes_max = 0;
    absl::Duration age_max;
    // Told of a trace that has ended by itself, soon after, with nothing
    // locked. May be empty.
    std::function<void(const TraceInfo& trace)> on_end = nullptr;
    // Told of each write; may be null, and outlives the library.
    storage::StorageObserver* observer = nullptr;
    // Told once of a trace that ended as its file could not be written, with
    // the library's lock held. May be empty.
    std::function<void(absl::string_view name, const absl::Status& why)>
        on_failed = nullptr;
  };
  static constexpr size_t kTracesMax = 1'000;

  // Takes what an earlier daemon left. Unavailable or PermissionDenied, with
  // the fix: the directory.
  static absl::StatusOr<std::unique_ptr<TraceLibrary>> Open(
      const Options& options);

  ~TraceLibrary();
  TraceLibrary(const TraceLibrary&) = delete;
  TraceLibrary& operator=(const TraceLibrary&) = delete;

  // What Stores write to; lives as long as this.
  policy::trial::TraceRecorder& recorder() { return recorder_; }

  // FailedPrecondition: one is being recorded. Unavailable: it cannot be
  // written.
  absl::StatusOr<TraceInfo> Start(absl::Duration duration);
  // FailedPrecondition: none is being recorded. Unavailable: it has ended, and
  // the last of it could not be written.
  absl::StatusOr<TraceInfo> Stop();
  // Oldest first.
  std::vector<TraceInfo> List();
  // NotFound.
  absl::Status Remove(absl::string_view name);
  // What is there of it now. NotFound.
  absl::StatusOr<policy::trial::TraceReader::Source> Read(
      absl::string_view name);

  // Lets go of what is too old.
  void Sweep(absl::Time now);

 private:
  class File;

  explicit TraceLibrary(const Options& options) : options_(options) {}

  // A trace that ended by itself, to be told once nothing is locked.
  using Ended = std::optional<TraceInfo>;
  void Tell(const Ended& ended) const;
  absl::Status NoTrace(absl::string_view name) const;
  std::string PathOf(absl::string_view name) const;
  // Those on disk, oldest first; the one that is recorded as its File has it.
  std::vector<TraceInfo> Look() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends what has ended by itself.
  Ended Settle(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What the disk said, then or before. Tells on_failed.
  absl::Status End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Ended SweepLocked(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  policy::trial::TraceRecorder recorder_;

  mutable absl::Mutex mu_;
  // Being recorded, or null.
  std::shared_ptr<File> file_ ABSL_GUARDED_BY(mu_);
  uint64_t started_ ABSL_GUARDED_BY(mu_) = 0;
  // TraceInfo::end_reason, by name; of traces that are there.
  std::map<std::string, std::string, std::less<>> ends_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate::traces

#endif  // CALLGATE_SERVER_TRACES_TRACE_LIBRARY_H_
