// Shows a trace to other rules and says which verdicts would have been others.
//
// The same trace and the same policies give the same report, byte for byte:
// nothing but the trace is read, no clock either.
//
// What a trace cannot know. A call that was stopped and now goes on has no
// results; it is taken to have ended with zeros, and what follows from that is
// the policies' word about a run that never was. Bytes that are hidden by a
// redaction, or that were not written down, read as zeros; a verdict that read
// such is marked. So is what changes about a Store that had made calls before
// the trace began to see it, and about verdicts of rules on anomalies: profiles
// are not in a trace, and a call that those rules did not speak of then is
// taken to be as usual. Functions of the guest's own are shown as far as some
// rule had them probed then. Budgets of fuel, time and bytes end calls where
// they ended then, or not at all.
//
// Where the policies of a Store changed while the trace was recorded, whoever
// chooses its policies is asked again.

#ifndef CALLGATE_POLICY_TRIAL_REPLAY_H_
#define CALLGATE_POLICY_TRIAL_REPLAY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "policy/policy.h"
#include "policy/trial/trace_reader.h"
#include "policy/trial/trial_decision.h"

namespace callgate::policy::trial {

// A verdict that would have been another.
struct ReplayChange {
  std::string trace;   // ReplayOptions::trace
  uint64_t event = 0;  // in that trace, from 0, of those that are replayed
  absl::Time wall;
  std::string store_id;
  std::string tenant;
  std::string subject;  // "net.send", "memory_grow"
  TrialDecision before;
  TrialDecision after;
  // It may be due to what the trace does not know.
  bool uncertain = false;

  // One line, escaped.
  std::string ToString() const;
};

struct ReplayReport {
  static constexpr size_t kChangesMax = 1'000;

  uint64_t events = 0;
  uint64_t stores = 0;
  // Stores that no policy was chosen for, and their events.
  uint64_t stores_skipped = 0;
  uint64_t events_skipped = 0;
  uint64_t changed = 0;
  uint64_t uncertain = 0;  // of those
  // Enforced verdicts: what was and what would be.
  std::map<Verdict, uint64_t> before;
  std::map<Verdict, uint64_t> after;
  // From one to the other.
  std::map<std::pair<Verdict, Verdict>, uint64_t> moves;
  // The first of them.
  std::vector<ReplayChange> changes;
  // The trace ended in the middle of a record, as one whose recorder was
  // killed.
  bool cut_off = false;

  // Lines for people: each change, then totals.
  std::string ToString() const;
};

// A Store of a trace, as whoever chooses its policies sees it.
struct ReplayedStore {
  using Labels = absl::flat_hash_map<std::string, std::string>;

  const StoreFacts& facts;
  const Labels& module_labels;
  // What judged it then, or from then on: "name@version".
  const std::vector<std::string>& before;
};

// Which policies judge a Store in a replay.
struct ReplayJudges {
  // None: it is left out.
  std::vector<std::shared_ptr<const Policy>> policies;
  // Something else judged it, too, and is not known any more: whatever changes
  // may be due to that.
  bool incomplete = false;
};

struct ReplayOptions {
  // What changes name as their trace; may be empty.
  std::string trace;
  // Events before are shown, so that rules remember them, but neither compared
  // nor counted.
  absl::Time since = absl::InfinitePast();
  std::function<ReplayJudges(const ReplayedStore& store)> judges;
  // Asked now and then; false gives up. May be empty.
  std::function<bool()> keep_going;
};

// Adds to `report`, so that several traces can be one. DataLoss: the trace is
// damaged. ResourceExhausted: more Stores at once than a replay holds.
// Cancelled: keep_going said so.
absl::Status Replay(TraceReader& trace, const ReplayOptions& options,
                    ReplayReport* report);

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_REPLAY_H_
