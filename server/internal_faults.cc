#include "server/internal_faults.h"

namespace callgate {

absl::string_view InternalFaultName(InternalFault fault) {
  switch (fault) {
    case InternalFault::kEngine:
      return "engine";
    case InternalFault::kQuarantineNotStored:
      return "quarantine_not_stored";
    case InternalFault::kQuarantineNotRead:
      return "quarantine_not_read";
    case InternalFault::kPoliciesNotRead:
      return "policies_not_read";
    case InternalFault::kPolicyHistoryNotStored:
      return "policy_history_not_stored";
    case InternalFault::kProbesNotPlaced:
      return "probes_not_placed";
    case InternalFault::kProfileNotStored:
      return "profile_not_stored";
    case InternalFault::kTraceNotWritten:
      return "trace_not_written";
    case InternalFault::kAlertsNotWritten:
      return "alerts_not_written";
  }
  return "unknown";
}

bool InternalFaults::Report(InternalFault fault, absl::string_view subject,
                            v1::Event event) {
  Count(fault, 1);
  {
    const absl::MutexLock lock(&mu_);
    // The last place is for all that find no other.
    const bool has_room = told_.size() + 1 < kSubjectsMax ||
                          told_.count({fault, std::string(subject)}) != 0;
    if (!told_.emplace(fault, has_room ? std::string(subject) : "").second) {
      return false;
    }
  }
  events_.Publish(std::move(event));
  return true;
}

bool InternalFaults::Clear(InternalFault fault, absl::string_view subject) {
  const absl::MutexLock lock(&mu_);
  return told_.erase({fault, std::string(subject)}) != 0;
}

void InternalFaults::Count(InternalFault fault, uint64_t count) {
  metrics_.CountInternalFault(InternalFaultName(fault), count);
}

}  // namespace callgate
