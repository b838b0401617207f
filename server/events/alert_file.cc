#include "server/events/alert_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/events/event_json.h"
#include "server/storage/system_error.h"

namespace callgate::events {
namespace {

using storage::SystemError;

class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  ~OwnedFd() {
    if (fd_ >= 0) close(fd_);
  }
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

}  // namespace

// The file itself: whole lines, bounded, reopened when it was moved.
class AlertFile::Writer {
 public:
  Writer(std::string path, uint64_t bytes_max)
      : path_(std::move(path)), bytes_max_(bytes_max) {}

  absl::Status Open() {
    // Not waiting for the other end of a pipe, nor following a link that
    // somebody put where the file will be.
    OwnedFd fd(
        open(path_.c_str(),
             O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
             0600));
    if (fd.get() < 0) {
      return SystemError(errno,
                         absl::StrCat("cannot open the alert file ", path_));
    }
    struct stat file = {};
    if (fstat(fd.get(), &file) != 0) {
      return SystemError(errno,
                         absl::StrCat("cannot open the alert file ", path_));
    }
    if (!S_ISREG(file.st_mode)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the alert file ", path_,
          " is not a regular file; name one, or a path where one can be made"));
    }
    char last = '\n';
    if (file.st_size > 0 && pread(fd.get(), &last, 1, file.st_size - 1) != 1) {
      return SystemError(errno,
                         absl::StrCat("cannot read the alert file ", path_));
    }
    fd_ = std::move(fd);
    device_ = file.st_dev;
    inode_ = file.st_ino;
    bytes_ = static_cast<uint64_t>(file.st_size);
    torn_ = last != '\n';
    return absl::OkStatus();
  }

  absl::Status Write(absl::string_view json) {
    absl::Status ready = Reopen();
    if (!ready.ok()) return ready;
    const std::string line = absl::StrCat(torn_ ? "\n" : "", json, "\n");
    if (bytes_ > 0 && bytes_ + line.size() > bytes_max_) {
      if (rename(path_.c_str(), absl::StrCat(path_, ".1").c_str()) != 0) {
        return SystemError(errno, absl::StrCat("cannot move ", path_));
      }
      ready = Open();
      if (!ready.ok()) return ready;
      return Append(absl::StrCat(json, "\n"));
    }
    return Append(line);
  }

 private:
  // Opens the file anew unless it is still what the path names, and takes its
  // size, which somebody else may have changed.
  absl::Status Reopen() {
    struct stat file = {};
    if (fd_.get() < 0 || stat(path_.c_str(), &file) != 0 ||
        file.st_dev != device_ || file.st_ino != inode_) {
      return Open();
    }
    bytes_ = static_cast<uint64_t>(file.st_size);
    return absl::OkStatus();
  }

  absl::Status Append(absl::string_view line) {
    absl::string_view rest = line;
    while (!rest.empty()) {
      const ssize_t written = write(fd_.get(), rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        const int error = errno;
        if (rest.size() != line.size()) {
          torn_ = ftruncate(fd_.get(), static_cast<off_t>(bytes_)) != 0;
        }
        return SystemError(error, absl::StrCat("cannot write ", path_));
      }
      rest.remove_prefix(static_cast<size_t>(written));
    }
    bytes_ += line.size();
    torn_ = false;
    return absl::OkStatus();
  }

  const std::string path_;
  const uint64_t bytes_max_;
  OwnedFd fd_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  uint64_t bytes_ = 0;
  // The file ends in the middle of a line.
  bool torn_ = false;
};

EventFilter AlertFilter() {
  EventFilter filter;
  filter.min_severity = v1::EVENT_SEVERITY_NOTICE;
  return filter;
}

absl::StatusOr<std::unique_ptr<AlertFile>> AlertFile::Start(
    const AlertFileOptions& options, EventLog& log) {
  auto writer = std::make_unique<Writer>(options.path, options.bytes_max);
  const absl::Status opened = writer->Open();
  if (!opened.ok()) return opened;
  absl::StatusOr<std::unique_ptr<Subscription>> subscription =
      log.Subscribe(AlertFilter(), EventLog::Start(), kSinkAlertFile);
  if (!subscription.ok()) return subscription.status();
  return std::unique_ptr<AlertFile>(
      new AlertFile(options, std::move(writer), *std::move(subscription), log));
}

AlertFile::AlertFile(const AlertFileOptions& options,
                     std::unique_ptr<Writer> writer,
                     std::unique_ptr<Subscription> subscription, EventLog& log)
    : options_(options),
      log_(log),
      subscription_(std::move(subscription)),
      writer_(std::move(writer)),
      thread_([this] { Run(); }) {}

AlertFile::~AlertFile() {
  give_up_at_ns_ = Clock::Real().MonotonicNanos() +
                   absl::ToInt64Nanoseconds(options_.flush_timeout);
  subscription_->Close();
  thread_.join();
}

void AlertFile::Run() {
  while (true) {
    const std::optional<Subscription::Item> item =
        subscription_->Next(absl::InfiniteFuture());
    if (!item.has_value()) break;
    const bool give_up = Clock::Real().MonotonicNanos() > give_up_at_ns_;
    if (item->gap.has_value()) {
      if (give_up || !Write(GapEvent(*item->gap))) {
        Owe(item->gap->from_seq(), item->gap->to_seq(), item->gap->count());
      }
    } else if (give_up) {
      subscription_->CountUndelivered(kDropClosed);
    } else if (!Write(*item->event)) {
      subscription_->CountUndelivered(kDropWriteError);
      Owe(item->event->seq(), item->event->seq(), 1);
    }
  }
  // Nothing comes after which what is owed could be said.
  if (owed_.count() > 0) WriteLine(GapEvent(owed_));
}

bool AlertFile::WriteLine(const v1::Event& event) {
  const absl::Status written = writer_->Write(EventToJson(event));
  const bool fails = !written.ok();
  if (std::exchange(fails_, fails) != fails && options_.on_change) {
    options_.on_change(written);
  }
  return !fails;
}

bool AlertFile::Write(const v1::Event& event) {
  if (owed_.count() > 0) {
    if (!WriteLine(GapEvent(owed_))) return false;
    owed_.Clear();
  }
  return WriteLine(event);
}

void AlertFile::Owe(uint64_t from_seq, uint64_t to_seq, uint64_t count) {
  owed_.set_reason(kDropWriteError);
  if (owed_.count() == 0) owed_.set_from_seq(from_seq);
  owed_.set_to_seq(std::max(owed_.to_seq(), to_seq));
  owed_.set_count(owed_.count() + count);
}

v1::Event AlertFile::GapEvent(const v1::Gap& gap) const {
  v1::Event event;
  event.set_epoch(log_.epoch());
  const int64_t now_ns = absl::GetCurrentTimeNanos();
  event.mutable_time()->set_seconds(now_ns / 1'000'000'000);
  event.mutable_time()->set_nanos(static_cast<int32_t>(now_ns % 1'000'000'000));
  event.set_kind(v1::EVENT_KIND_GAP);
  event.set_severity(v1::EVENT_SEVERITY_WARNING);
  event.set_message(absl::StrCat(gap.count(), " events are missing here"));
  *event.mutable_gap() = gap;
  return event;
}

}  // namespace callgate::events
