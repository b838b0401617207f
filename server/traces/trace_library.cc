#include "server/traces/trace_library.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "server/events/escape.h"

namespace callgate::traces {
namespace {

constexpr absl::string_view kSuffix = ".cgtrace";
constexpr size_t kBufferBytes = 256 << 10;
// Four digits of a year: without saying so the parser would take them all.
constexpr char kNameTime[] = "%E4Y%m%dT%H%M%S";

// "20260131T235959-7": nothing else is a name, so none leads out of the
// directory.
bool IsName(absl::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == 'T' ||
           c == '-';
  });
}

absl::Time BeginOf(absl::string_view name) {
  absl::Time begin = absl::UnixEpoch();
  std::string why;
  const size_t dash = name.find('-');
  if (!absl::ParseTime(kNameTime, std::string(name.substr(0, dash)), &begin,
                       &why)) {
    return absl::UnixEpoch();
  }
  return begin;
}

absl::Status WriteWhole(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return absl::UnavailableError(
          absl::StrCat("a trace cannot be written: ", std::strerror(errno)));
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// Not every order of names is the order of time: "-10" comes after "-9".
bool IsOlder(const TraceInfo& a, const TraceInfo& b) {
  if (a.begin != b.begin) return a.begin < b.begin;
  if (a.name.size() != b.name.size()) return a.name.size() < b.name.size();
  return a.name < b.name;
}

}  // namespace

// The trace that is being recorded. Append runs under the recorder's lock.
class TraceLibrary::File final : public policy::trial::TraceSink {
 public:
  // `make_room` frees some bytes of other traces and says how many those still
  // have; asked under the recorder's lock.
  File(std::string name, int fd, absl::Time until, uint64_t bytes_max,
       uint64_t others, std::function<uint64_t()> make_room,
       storage::StorageObserver* observer)
      : observer_(observer),
        name_(std::move(name)),
        fd_(fd),
        begin_(absl::Now()),
        until_(until),
        bytes_max_(bytes_max),
        make_room_(std::move(make_room)),
        others_(others) {}
  ~File() override { close(fd_); }

  absl::Status Append(absl::string_view bytes) override {
    if (absl::Now() > until_) {
      return absl::ResourceExhaustedError("the trace has had its time");
    }
    const absl::MutexLock lock(&mu_);
    if (!failed_.ok()) return failed_;
    while (size_ + bytes.size() + others_ > bytes_max_) {
      const uint64_t before = others_;
      if (before > 0) others_ = make_room_();
      if (others_ >= before) {
        return absl::ResourceExhaustedError("the trace has had its bytes");
      }
    }
    absl::StrAppend(&buffer_, bytes);
    size_ += bytes.size();
    return buffer_.size() < kBufferBytes ? absl::OkStatus() : Write();
  }

  // To the disk, or at least to the system. After a failure nothing more is
  // written: what would follow belongs behind what is missing.
  absl::Status Flush() {
    const absl::MutexLock lock(&mu_);
    return failed_.ok() ? Write() : failed_;
  }

  TraceInfo info() const {
    const absl::MutexLock lock(&mu_);
    return {name_, begin_, until_, size_, true, ""};
  }
  const std::string& name() const { return name_; }
  absl::Time until() const { return until_; }

 private:
  absl::Status Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (buffer_.empty()) return absl::OkStatus();
    storage::TimedOperation timed(observer_, storage::kEngineFiles,
                                  storage::kOpWriteTrace);
    failed_ = WriteWhole(fd_, buffer_);
    buffer_.clear();
    return failed_.ok() ? failed_ : timed.Failed(failed_);
  }

  storage::StorageObserver* const observer_;  // may be null
  const std::string name_;
  const int fd_;
  const absl::Time begin_;
  const absl::Time until_;
  const uint64_t bytes_max_;
  const std::function<uint64_t()> make_room_;

  mutable absl::Mutex mu_;
  std::string buffer_ ABSL_GUARDED_BY(mu_);
  absl::Status failed_ ABSL_GUARDED_BY(mu_);
  uint64_t size_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t others_ ABSL_GUARDED_BY(mu_) = 0;  // bytes of all other traces
};

absl::StatusOr<std::unique_ptr<TraceLibrary>> TraceLibrary::Open(
    const Options& options) {
  struct stat facts;
  if ((mkdir(options.directory.c_str(), 0700) != 0 && errno != EEXIST) ||
      stat(options.directory.c_str(), &facts) != 0) {
    return absl::UnavailableError(absl::StrCat(
        "the directory ", events::EscapeText(options.directory, 512),
        " for traces cannot be made: ", std::strerror(errno)));
  }
  if (!S_ISDIR(facts.st_mode) ||
      access(options.directory.c_str(), R_OK | W_OK | X_OK) != 0) {
    return absl::PermissionDeniedError(absl::StrCat(
        events::EscapeText(options.directory, 512),
        " is no directory in which traces can be written; make it one, or "
        "start without --trace-mib"));
  }
  auto library = absl::WrapUnique(new TraceLibrary(options));
  library->Sweep(absl::Now());
  return library;
}

TraceLibrary::~TraceLibrary() {
  const absl::MutexLock lock(&mu_);
  // Whoever wants to know has been told.
  End().IgnoreError();
}

void TraceLibrary::Tell(const Ended& ended) const {
  if (ended.has_value() && options_.on_end) options_.on_end(*ended);
}

absl::Status TraceLibrary::NoTrace(absl::string_view name) const {
  return absl::NotFoundError(absl::StrCat(
      "there is no trace ", events::EscapeText(name, 80),
      "; `callgate trace ls` lists those there are, and one goes when it is "
      "older than ",
      absl::FormatDuration(options_.age_max), " or another needs its room"));
}

std::string TraceLibrary::PathOf(absl::string_view name) const {
  return absl::StrCat(options_.directory, "/", name, kSuffix);
}

std::vector<TraceInfo> TraceLibrary::Look() const {
  std::vector<TraceInfo> traces;
  DIR* const directory = opendir(options_.directory.c_str());
  if (directory == nullptr) return traces;
  while (const dirent* entry = readdir(directory)) {
    absl::string_view name = entry->d_name;
    if (!absl::ConsumeSuffix(&name, kSuffix) || !IsName(name)) continue;
    struct stat facts;
    if (fstatat(dirfd(directory), entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) !=
            0 ||
        !S_ISREG(facts.st_mode)) {
      continue;
    }
    if (file_ != nullptr && file_->name() == name) {
      traces.push_back(file_->info());
    } else {
      const auto why = ends_.find(name);
      traces.push_back({std::string(name), BeginOf(name),
                        absl::TimeFromTimespec(facts.st_mtim),
                        static_cast<uint64_t>(facts.st_size), false,
                        why == ends_.end() ? "" : why->second});
    }
  }
  closedir(directory);
  std::sort(traces.begin(), traces.end(), IsOlder);
  return traces;
}

absl::Status TraceLibrary::End() {
  if (file_ == nullptr) return absl::OkStatus();
  recorder_.Stop();
  absl::Status status = file_->Flush();
  if (!status.ok() && options_.on_failed) {
    options_.on_failed(file_->name(), status);
  }
  file_ = nullptr;
  return status;
}

TraceLibrary::Ended TraceLibrary::Settle(absl::Time now) {
  if (file_ == nullptr) return std::nullopt;
  const bool is_over = now > file_->until();
  if (recorder_.recording() && !is_over) return std::nullopt;
  const absl::Status why = recorder_.end();
  TraceInfo info = file_->info();
  const absl::Status written = End();
  info.recording = false;
  info.end = std::min(info.end, now);
  info.end_reason = std::string(!written.ok() ? written.message()
                                : !why.ok()   ? why.message()
                                              : "the trace has had its time");
  ends_[info.name] = info.end_reason;
  return info;
}

TraceLibrary::Ended TraceLibrary::SweepLocked(absl::Time now) {
  Ended ended = Settle(now);
  std::vector<TraceInfo> traces = Look();
  uint64_t bytes = 0;
  for (const TraceInfo& trace : traces) bytes += trace.bytes;
  size_t count = traces.size();
  for (const TraceInfo& trace : traces) {
    if (trace.recording) continue;
    if (now - trace.end < options_.age_max && bytes <= options_.bytes_max &&
        count < kTracesMax) {
      continue;
    }
    if (unlink(PathOf(trace.name).c_str()) == 0) {
      bytes -= trace.bytes;
      --count;
    }
  }
  for (auto why = ends_.begin(); why != ends_.end();) {
    const bool is_there =
        access(PathOf(why->first).c_str(), F_OK) == 0 || errno != ENOENT;
    why = is_there ? std::next(why) : ends_.erase(why);
  }
  return ended;
}

void TraceLibrary::Sweep(absl::Time now) {
  Ended ended;
  {
    const absl::MutexLock lock(&mu_);
    ended = SweepLocked(now);
  }
  Tell(ended);
}

absl::StatusOr<TraceInfo> TraceLibrary::Start(absl::Duration duration) {
  const absl::Time now = absl::Now();
  Sweep(now);
  const absl::MutexLock lock(&mu_);
  if (file_ != nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("trace ", file_->name(), " is being recorded until ",
                     absl::FormatTime(absl::RFC3339_sec, file_->until(),
                                      absl::UTCTimeZone()),
                     "; stop it first"));
  }
  const std::string stamp =
      absl::FormatTime(kNameTime, now, absl::UTCTimeZone());
  // Another of the same second has another number.
  int fd = -1;
  std::string name;
  for (int tries = 0; fd < 0 && tries < 100; ++tries) {
    name = absl::StrCat(stamp, "-", ++started_);
    fd = open(PathOf(name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
              0600);
    if (fd < 0 && errno != EEXIST) break;
  }
  if (fd < 0) {
    return absl::UnavailableError(
        absl::StrCat("a trace cannot be made: ", std::strerror(errno)));
  }
  uint64_t others = 0;
  for (const TraceInfo& trace : Look()) others += trace.bytes;
  // Under the recorder's lock, so it may not take ours; unlinking what nobody
  // records is safe without.
  const auto make_room = [this, name]() -> uint64_t {
    DIR* const directory = opendir(options_.directory.c_str());
    if (directory == nullptr) return 0;
    TraceInfo oldest;
    uint64_t rest = 0;
    while (const dirent* entry = readdir(directory)) {
      absl::string_view other = entry->d_name;
      struct stat facts;
      if (!absl::ConsumeSuffix(&other, kSuffix) || !IsName(other) ||
          other == name ||
          fstatat(dirfd(directory), entry->d_name, &facts,
                  AT_SYMLINK_NOFOLLOW) != 0) {
        continue;
      }
      const TraceInfo trace = {std::string(other),
                               BeginOf(other),
                               {},
                               static_cast<uint64_t>(facts.st_size),
                               false,
                               ""};
      rest += trace.bytes;
      if (oldest.name.empty() || IsOlder(trace, oldest)) oldest = trace;
    }
    closedir(directory);
    if (!oldest.name.empty() && unlink(PathOf(oldest.name).c_str()) == 0) {
      rest -= oldest.bytes;
    }
    return rest;
  };
  auto file = std::make_shared<File>(
      name, fd, now + std::min(duration, options_.age_max), options_.bytes_max,
      others, make_room, options_.observer);
  absl::Status status = recorder_.Start(file);
  if (status.ok()) {
    // A disk that takes nothing is found now, and not when a buffer is full.
    status = file->Flush();
    if (!status.ok()) recorder_.Stop();
  }
  if (!status.ok()) {
    unlink(PathOf(name).c_str());
    return status;
  }
  file_ = std::move(file);
  return file_->info();
}

absl::StatusOr<TraceInfo> TraceLibrary::Stop() {
  const absl::MutexLock lock(&mu_);
  if (file_ == nullptr) {
    return absl::FailedPreconditionError("no trace is being recorded");
  }
  TraceInfo info = file_->info();
  info.recording = false;
  info.end = std::min(info.end, absl::Now());
  const absl::Status written = End();
  if (written.ok()) return info;
  ends_[info.name] = std::string(written.message());
  return absl::Status(
      written.code(),
      absl::StrCat("trace ", info.name,
                   " has ended, and its end is missing: ", written.message()));
}

std::vector<TraceInfo> TraceLibrary::List() {
  Sweep(absl::Now());
  const absl::MutexLock lock(&mu_);
  return Look();
}

absl::Status TraceLibrary::Remove(absl::string_view name) {
  const absl::MutexLock lock(&mu_);
  // Of what goes nothing has to be written.
  if (file_ != nullptr && file_->name() == name) End().IgnoreError();
  if (!IsName(name) || unlink(PathOf(name).c_str()) != 0) return NoTrace(name);
  return absl::OkStatus();
}

absl::StatusOr<policy::trial::TraceReader::Source> TraceLibrary::Read(
    absl::string_view name) {
  const absl::MutexLock lock(&mu_);
  // What is there can be read, whatever the disk says of the rest.
  if (file_ != nullptr && file_->name() == name) file_->Flush().IgnoreError();
  const int fd = IsName(name) ? open(PathOf(name).c_str(),
                                     O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
                              : -1;
  if (fd < 0) return NoTrace(name);
  // Functions are copied: the last copy closes it.
  const std::shared_ptr<const int> held(new int(fd), [](const int* p) {
    close(*p);
    delete p;
  });
  return [held](size_t size) -> absl::StatusOr<std::string> {
    std::string bytes(size, '\0');
    size_t got = 0;
    while (got < size) {
      const ssize_t n = read(*held, &bytes[got], size - got);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        return absl::UnavailableError(
            absl::StrCat("a trace cannot be read: ", std::strerror(errno)));
      }
      if (n == 0) break;
      got += static_cast<size_t>(n);
    }
    bytes.resize(got);
    return bytes;
  };
}

}  // namespace callgate::traces
