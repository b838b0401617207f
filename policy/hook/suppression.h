// Folding of events that are alike: `defaults.suppression`.
//
// Decisions fall into groups by what the policy that names them calls the same.
// Of a group a burst is told in a period, which begins with its first event;
// the rest is counted, and what was held back is handed out when the period is
// over or when the Store ends that the group is about. Nothing else changes:
// verdicts hold, and whoever counts decisions counts them all.
//
// Memory is bounded: at most `groups_max` groups, each with texts of bounded
// length. When there is no room, events of new groups are one group for each
// policy, which says so.
//
// Any thread. Time is the caller's, monotonic.

#ifndef CALLGATE_POLICY_HOOK_SUPPRESSION_H_
#define CALLGATE_POLICY_HOOK_SUPPRESSION_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/hook/decision.h"
#include "policy/suppression_spec.h"
#include "policy/verdict.h"

namespace callgate::policy {

// What was held back of one group in one period. Names are the operator's,
// except those of imports and modules, which are untrusted bytes.
struct HeldBack {
  uint64_t count = 0;
  absl::Time since;
  absl::Time until;
  // There was no room to tell it from other groups of the policy.
  bool overflow = false;
  // Of the last event that was held back, and so perhaps not of all of them
  // where the keys do not say so.
  std::string policy;
  std::string policy_version;
  std::string rule;
  std::string tenant;
  std::string store_id;
  std::string module_digest;
  std::string import_module;
  std::string import_name;
  std::string budget;
  Verdict verdict = Verdict::kAllow;
  Verdict would_be_verdict = Verdict::kAllow;
  Mode mode = Mode::kEnforce;
  Severity severity = Severity::kDebug;
};

class Suppressor {
 public:
  explicit Suppressor(size_t groups_max = 4096) : groups_max_(groups_max) {}
  Suppressor(const Suppressor&) = delete;
  Suppressor& operator=(const Suppressor&) = delete;

  // Whether the event is told. One whose policy has no suppression always is.
  bool Tells(const DecisionRecord& decision, absl::Time now);

  // What periods that are over have held back; those groups begin anew.
  std::vector<HeldBack> TakeDue(absl::Time now);
  // The same for groups that have `store` among their keys and are this one's.
  std::vector<HeldBack> TakeStore(absl::string_view store_id);
  std::vector<HeldBack> TakeAll();

  size_t groups() const;
  // Events held back and not handed out yet.
  uint64_t held_back() const;

 private:
  struct Group {
    absl::Time ends;
    uint64_t seen = 0;
    bool of_store = false;
    HeldBack held;
  };
  using Groups = absl::flat_hash_map<std::string, Group>;

  static std::string KeyOf(const SuppressionSpec& spec,
                           const DecisionRecord& decision);
  // Those for which `over` holds. With the lock.
  template <typename Over>
  std::vector<HeldBack> Take(const Over& over);
  // Keeps it for whoever takes what is due. With the lock.
  void AddDue(HeldBack held);

  const size_t groups_max_;
  mutable std::mutex mu_;
  // Guarded by mu_.
  Groups groups_;
  // No group ends before.
  absl::Time next_end_ = absl::InfiniteFuture();
  // Of periods that ended with nobody asking; at most groups_max_.
  std::vector<HeldBack> due_;
  uint64_t held_back_ = 0;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_SUPPRESSION_H_
