// Alerts as JSON lines in a file, for whatever collects logs on the machine.
//
// A line is an event as event_json.h writes it: decisions, used-up budgets and
// policy trouble of severity notice and above, and every gap. Lines are whole:
// a line that a full disk cut short is taken back, and one that a kill cut
// short is closed off before the next begins. What could not be written is
// counted, and a gap line says so as soon as writing works again.
//
// The file is bounded: before it would pass bytes_max it becomes FILE.1 in
// place of an earlier FILE.1, so the two together hold at most twice that. A
// collector that follows by name (tail -F) misses nothing.
//
// One thread of its own reads the event log and writes; the destructor writes
// what the log still has, for flush_timeout at most, and counts the rest as
// dropped. Lines reach the kernel, not necessarily the disk: they survive the
// daemon's death, not the machine's.

#ifndef CALLGATE_SERVER_EVENTS_ALERT_FILE_H_
#define CALLGATE_SERVER_EVENTS_ALERT_FILE_H_

#include <cstdint>
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
  AlertFile(std::unique_ptr<Writer> writer,
            std::unique_ptr<Subscription> subscription,
            absl::Duration flush_timeout);

  void Run();

  // Constant after construction.
  const absl::Duration flush_timeout_;
  const std::unique_ptr<Subscription> subscription_;

  // Used by thread_ alone.
  const std::unique_ptr<Writer> writer_;

  std::thread thread_;
};

}  // namespace callgate::events

#endif  // CALLGATE_SERVER_EVENTS_ALERT_FILE_H_
