// What the rules about anomalies say of one Store's calls.
//
// For each such rule there is the stream of the Store's calls: it is judged
// where the profile of the Store's module says so, and recorded where that
// learns. Profiles are leased when the watch is made; what becomes of a profile
// later is seen by later Stores.
//
// At a call, thresholds of `log` and `alert` speak when their condition becomes
// true, and not again before it was false; all others speak at every call for
// which it is true. A delay comes before the call's effect, as every verdict
// does.
//
// A Store teaches when it ends, and only if nothing else was found wrong with
// it: NoteAlert says that something was. A guest that trapped teaches nothing
// either.
//
// One thread, the Store's; the book outlives it and is any thread's.

#ifndef CALLGATE_POLICY_HOOK_ANOMALY_WATCH_H_
#define CALLGATE_POLICY_HOOK_ANOMALY_WATCH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "policy/anomaly/profile_book.h"
#include "policy/anomaly/stream.h"
#include "policy/anomaly_rule.h"
#include "policy/expression/scratch.h"
#include "policy/hook/call_sites.h"
#include "policy/hook/decision.h"
#include "policy/hook/rules_in_force.h"
#include "policy/verdict.h"
#include "runtime/call_hook.h"

namespace callgate::policy {

class AnomalyWatch {
 public:
  // Null if no policy has a rule about anomalies. `book` may be null: nothing
  // has a profile then, and nothing is learned. `rules` outlives the watch.
  // `before` is the watch that this one replaces, or null: what it has of a
  // rule that watches the same way, the Store's calls so far, goes on.
  // What begins to watch after the Store has made calls, as `has_calls` says,
  // teaches nothing.
  static std::unique_ptr<AnomalyWatch> Make(
      const RulesInForce& rules, const StoreFacts& facts,
      anomaly::ProfileBook* book, std::unique_ptr<AnomalyWatch> before,
      bool has_calls = false);

  struct Finding {
    size_t policy = 0;
    const Rule* rule = nullptr;
    // Under the rule's mode, and under audit while nobody has approved the
    // profile.
    Mode mode = Mode::kEnforce;
    std::string message;
    // The condition could not be evaluated, and why.
    std::string failure;
  };

  // A host call is about to happen; adds what there is to say of it.
  void Calling(CallContext& call, std::vector<Finding>* findings);
  // It has ended.
  void Returned(CallContext& call);

  void NoteAlert() { teaches_ = false; }
  bool teaches() const { return teaches_; }
  // Submits what was recorded, once. Between calls; may wait for the disk.
  // What the book said, of each rule that records.
  std::vector<absl::Status> Finish(absl::Time now);

 private:
  // One rule of one policy.
  struct Watched {
    size_t policy = 0;
    const AnomalyRule* rule = nullptr;
    anomaly::ProfileId id;
    anomaly::ProfileBook::Lease lease;
    bool is_denied = false;  // there is no profile, and that is denied
    std::unique_ptr<anomaly::Stream> stream;  // null: neither
    std::unique_ptr<CallSites> sites;
    bool asks_frequency = false;
    // Of thresholds, then of frequency: whether it was true at the last call.
    std::vector<bool> is_on;
  };

  AnomalyWatch(const RulesInForce& rules, std::string store_id,
               anomaly::ProfileBook* book)
      : rules_(rules), store_id_(std::move(store_id)), book_(book) {}

  // The one whose stream goes on under `rule`; null if there is none.
  Watched* FindSame(const AnomalyRule& rule);
  void Judge(Watched& watched, const anomaly::Score& score,
             std::vector<Finding>* findings);
  // Whether a rule whose condition is `now` true speaks.
  static bool Speaks(const Rule& rule, bool now, size_t index,
                     Watched* watched);

  const RulesInForce& rules_;
  const std::string store_id_;
  anomaly::ProfileBook* const book_;
  std::vector<Watched> watched_;
  std::unique_ptr<expression::Scratch> scratch_;
  bool teaches_ = true;
  bool finished_ = false;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_ANOMALY_WATCH_H_
