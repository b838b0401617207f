// Takes a policy back when denials surge after it changed (denial_surge.h).
//
// NoteSwap is for the policy catalogue's on_swap; it and Check are called by
// one thread at a time, which may be different ones. Everything outlives it.

#ifndef CALLGATE_SERVER_SURGE_ROLLBACK_H_
#define CALLGATE_SERVER_SURGE_ROLLBACK_H_

#include <map>
#include <string>

#include "server/denial_surge.h"
#include "server/events/event_log.h"
#include "server/policies/policy_catalogue.h"

namespace callgate {

class SurgeRollback {
 public:
  // Begins with what is in force.
  SurgeRollback(const DenialSurge::Options& options,
                policies::PolicyCatalogue& policies, events::EventLog& events);
  SurgeRollback(const SurgeRollback&) = delete;
  SurgeRollback& operator=(const SurgeRollback&) = delete;

  // Whom to tell of denials.
  DenialSurge& denials() { return denials_; }

  // Policies were swapped.
  void NoteSwap(absl::Time now);
  // Looks for surges, and undoes what caused them. Waits for the disk if there
  // is one.
  void Check(absl::Time now);

 private:
  policies::PolicyCatalogue& policies_;
  events::EventLog& events_;
  DenialSurge denials_;
  std::map<std::string, std::string> versions_;  // in force, by name
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SURGE_ROLLBACK_H_
