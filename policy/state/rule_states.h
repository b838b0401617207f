// Everything that rules remember: the states of rate limits and temporal rules,
// by rule and by whose they are.
//
// One RuleStates for a daemon. Each Store has a StoreStates from it, which
// knows the Store's own states and those that it shares with the other Stores
// of its tenant. A state belongs to a rule's digest (StateShape::digest), not
// to a policy: when the policies of a Store change, whoever judges it binds the
// new rules, and those whose digest was there before find their state as it
// was.
//
//   states = rule_states.ForStore(tenant, module_digest);  // lives as the
//   Store bound = states->Bind(shapes of all rules in force);    // at each
//   change,
//                                                          // beside the last
//
// A Store's own state goes when nobody holds it any more. A shared state stays,
// since a limit of a tenant must not begin anew with each Store; there are at
// most Options::shared_states_max of them. For one more goes one that nobody
// holds: of the tenant that has the most, the one that was bound longest ago.
//
// Threads: RuleStates any, and Bind() any; else a StoreStates is its Store's,
// and so are the Store's own states. All shared states of one tenant are under
// one mutex, so that an event changes several at once, and NextSharedEvent()
// numbers the tenant's events in the one order in which they changed them: that
// of a replay. Ownership: RuleStates outlives its StoreStates.

#ifndef CALLGATE_POLICY_STATE_RULE_STATES_H_
#define CALLGATE_POLICY_STATE_RULE_STATES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/state/fingerprint.h"
#include "policy/state/rule_state.h"
#include "policy/state/state_shape.h"

namespace callgate::policy {

class StoreStates;

class RuleStates {
 public:
  struct Options {
    FingerprintKey key = FingerprintKey::Random();
    size_t shared_states_max = 65536;
  };
  RuleStates() : RuleStates(Options()) {}
  explicit RuleStates(const Options& options);
  ~RuleStates();
  RuleStates(const RuleStates&) = delete;
  RuleStates& operator=(const RuleStates&) = delete;

  std::unique_ptr<StoreStates> ForStore(absl::string_view tenant,
                                        absl::string_view module_digest);

  // What the states of each rule take, for metrics. Rules of which there is no
  // state are not in it, but for those that have lost something not long ago.
  struct Use {
    std::string policy;
    std::string rule;
    StateScope scope = StateScope::kStore;
    uint64_t states = 0;
    uint64_t entries = 0;
    uint64_t bytes = 0;
    uint64_t lost = 0;  // since the rule was first seen
  };
  std::vector<Use> Uses() const;
  // Shared states that went for others.
  uint64_t shared_states_lost() const;

  // Forgets the shared states of every rule that is not one of `digests` and
  // that no Store has bound: for after a policy has been removed.
  void KeepOnly(const std::vector<std::string>& digests);

 private:
  friend class StoreStates;

  // Of one tenant.
  struct Shared {
    std::mutex mutex;  // protects the states' contents and `events`
    uint64_t events = 0;
    // By digest, then module digest or nothing; under RuleStates::mutex_, as
    // are the times.
    struct Entry {
      std::shared_ptr<RuleState> state;
      uint64_t bound_at = 0;
    };
    std::map<std::pair<std::string, std::string>, Entry> states;
  };

  std::shared_ptr<RuleState> BindShared(Shared& shared,
                                        absl::string_view module_digest,
                                        const StateShape& shape);
  std::shared_ptr<RuleStateUse> UseOf(const StateShape& shape);
  // Both under mutex_.
  std::shared_ptr<RuleStateUse> UseOfLocked(const StateShape& shape);
  void DropOldestLocked();

  const Options options_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Shared>, std::less<>> tenants_;
  std::map<std::string, std::shared_ptr<RuleStateUse>, std::less<>> uses_;
  size_t uses_max_ = 1024;  // then those of no states go
  size_t shared_states_ = 0;
  uint64_t shared_states_lost_ = 0;
  uint64_t bindings_ = 0;
  uint64_t stores_ = 0;
};

class StoreStates {
 public:
  ~StoreStates();
  StoreStates(const StoreStates&) = delete;
  StoreStates& operator=(const StoreStates&) = delete;

  // The states of these rules, in this order: those that are there, and new
  // ones.
  std::vector<std::shared_ptr<RuleState>> Bind(
      absl::Span<const StateShape* const> shapes);

  // Protects the states of other scopes than kStore.
  std::mutex& shared_mutex() const { return shared_->mutex; }
  // The number of an event among the tenant's, under shared_mutex().
  uint64_t NextSharedEvent() { return ++shared_->events; }
  // Numbers for the Store's events that no other Store of the RuleStates has.
  uint64_t NextEvent() { return first_event_ + ++events_; }

  const FingerprintKey& key() const { return states_.options_.key; }

 private:
  friend class RuleStates;
  StoreStates(RuleStates& states, std::shared_ptr<RuleStates::Shared> shared,
              std::string module_digest, uint64_t number);

  RuleStates& states_;
  const std::shared_ptr<RuleStates::Shared> shared_;
  const std::string module_digest_;
  const uint64_t first_event_;
  uint64_t events_ = 0;
  std::mutex mutex_;
  // The Store's own, by digest.
  std::map<std::string, std::weak_ptr<RuleState>> own_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_STATE_RULE_STATES_H_
