// What goes wrong inside the daemon between a decision and its effect: a disk
// that is full, a file that is gone, a Store that cannot be given new rules.
//
// Whatever it is, nothing that was closed opens by it. It is counted each time,
// and told once: the first of its kind about its subject since all was well.
// What fails again and again, as a disk does, is news again only when it has
// worked in between.
//
// Any thread. The event log and the metrics outlive it.

#ifndef CALLGATE_SERVER_INTERNAL_FAULTS_H_
#define CALLGATE_SERVER_INTERNAL_FAULTS_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "proto/callgate/v1/event_service.pb.h"
#include "server/events/event_log.h"
#include "server/metrics/metrics.h"

namespace callgate {

enum class InternalFault : uint8_t {
  // The policy engine could not judge a call: policy/hook/engine_fault.h.
  kEngine,
  // A quarantine holds, but would not survive a restart.
  kQuarantineNotStored,
  // Whether a module is in quarantine is not known: no Store of it is made.
  kQuarantineNotRead,
  // The policies that are stored, or the files of the directory, cannot be
  // read: all stays as it was.
  kPoliciesNotRead,
  // Policies are in force and the history does not say so.
  kPolicyHistoryNotStored,
  // A Store cannot watch what its new policies want watched: it takes no calls.
  kProbesNotPlaced,
  // What was learned of a module is not kept.
  kProfileNotStored,
  // A trace ended before its time.
  kTraceNotWritten,
  // Alerts do not reach their file. Counted when that begins: what is missing
  // is counted as dropped events, and a gap in the file tells how many.
  kAlertsNotWritten,
};

// Behind the last one.
inline constexpr size_t kInternalFaults =
    static_cast<size_t>(InternalFault::kAlertsNotWritten) + 1;

// The value of the metric's label: "quarantine_not_stored".
absl::string_view InternalFaultName(InternalFault fault);

class InternalFaults {
 public:
  InternalFaults(events::EventLog& events, metrics::Metrics& metrics)
      : events_(events), metrics_(metrics) {}
  InternalFaults(const InternalFaults&) = delete;
  InternalFaults& operator=(const InternalFaults&) = delete;

  // Counts it, and publishes `event` unless the same has been told of `subject`
  // since it was last cleared. True: it was told.
  bool Report(InternalFault fault, absl::string_view subject, v1::Event event);
  // It works again, or is no matter any more. True: it did not before.
  bool Clear(InternalFault fault, absl::string_view subject);
  // Of those that others tell of.
  void Count(InternalFault fault, uint64_t count);

  // Subjects that are remembered, of all faults. What is beyond them is told as
  // if it were one.
  static constexpr size_t kSubjectsMax = 1'000;

 private:
  using Key = std::pair<InternalFault, std::string>;

  events::EventLog& events_;
  metrics::Metrics& metrics_;

  absl::Mutex mu_;
  std::set<Key> told_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_INTERNAL_FAULTS_H_
