// Alerts as JSON lines in a file, for whatever collects logs on the machine.
//
// A line is an event as event_json.h writes it: everything of severity notice
// and above, and every gap. Lines are whole: one that a full disk cut short is
// taken back, and one that a kill cut short is closed off before the next
// begins. What could not be written is counted, and a gap line says so as soon
// as writing works again.
//
// The file is bounded: before it would pass bytes_max it becomes FILE.1 in
// place of an earlier FILE.1, so the two together hold at most twice that. If
// somebody else moves FILE away, as logrotate does, a new one is begun.
//
// One thread of its own reads the event log and writes. The destructor writes
// what the log has by then, for flush_timeout at most, and counts the rest as
// dropped. Lines reach the kernel, not necessarily the disk: they survive the
// daemon's death, not the machine's.

#ifndef CALLGATE_SERVER_EVENTS_ALERT_FILE_H_
#define CALLGATE_SERVER_EVENTS_ALERT_FILE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/events/event_filter.h"
#include "server/events/event_log.h"

namespace callgate::events {

struct AlertFileOptions {
  std::string path;
  uint64_t bytes_max = 64 << 20;
  absl::Duration flush_timeout = absl::Seconds(5);
  // Told on the writing thread when a line could not be written and the one
  // before it could, and, with OK, when the next one could again. May publish
  // events. May be empty.
  std::function<void(const absl::Status& status)> on_change = nullptr;
};

// What goes into the file.
EventFilter AlertFilter();

class AlertFile {
 public:
  // Opens the file for appending, makes it (mode 0600) where it is missing, and
  // begins with the next event. InvalidArgument for something that is not a
  // regular file; otherwise the status of what the system said, with the path.
  // `log` outlives the AlertFile.
  static absl::StatusOr<std::unique_ptr<AlertFile>> Start(
      const AlertFileOptions& options, EventLog& log);

  ~AlertFile();
  AlertFile(const AlertFile&) = delete;
  AlertFile& operator=(const AlertFile&) = delete;

 private:
  class Writer;
  AlertFile(const AlertFileOptions& options, std::unique_ptr<Writer> writer,
            std::unique_ptr<Subscription> subscription, EventLog& log);

  void Run();

  // Writes one event, and before it what is owed. False: neither, or only what
  // is owed.
  bool Write(const v1::Event& event);
  // One line, and who wants to know whether that goes well.
  bool WriteLine(const v1::Event& event);
  // Counts events whose gap line is still to be written.
  void Owe(uint64_t from_seq, uint64_t to_seq, uint64_t count);
  v1::Event GapEvent(const v1::Gap& gap) const;

  // Constant after construction.
  const AlertFileOptions options_;
  EventLog& log_;  // outlives this
  const std::unique_ptr<Subscription> subscription_;

  std::atomic<int64_t> give_up_at_ns_{std::numeric_limits<int64_t>::max()};

  // Used by thread_ alone.
  const std::unique_ptr<Writer> writer_;
  v1::Gap owed_;
  bool fails_ = false;

  std::thread thread_;
};

}  // namespace callgate::events

#endif  // CALLGATE_SERVER_EVENTS_ALERT_FILE_H_
