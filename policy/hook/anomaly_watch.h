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
// does. What an exception lets go counts as not true: it is told at the next
// call that none lets go.
//
// A Store teaches when it ends, and only if nothing else was found wrong with
// it: NoteAlert says that something was. A guest that trapped teaches nothing
// either.
//
// One thread, the Store's; the book and the Store's facts outlive it, and the
// book is any thread's.

#ifndef CALLGATE_POLICY_HOOK_ANOMALY_WATCH_H_
#define CALLGATE_POLICY_HOOK_ANOMALY_WATCH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "policy/anomaly/profile_book.h"
#include "policy/anomaly/stream.h"
#include "policy/anomaly_rule.h"
#include "policy/expression/scratch.h"
#include "policy/hook/call_sites.h"
#include "policy/hook/decision.h"
#include "policy/hook/import_judge.h"
#include "policy/hook/rules_in_force.h"
#include "policy/verdict.h"
#include "runtime/call_hook.h"

namespace callgate::policy {

class AnomalyWatch {
 public:
  using Leases = std::vector<anomaly::ProfileBook::Lease>;
  // One for each rule about anomalies, in the rules' order: what Make needs of
  // the book, which may have to make a model, or to wait until a profile has
  // been written. Any thread. `book` may be null: nothing has a profile then,
  // and nothing is learned.
  static Leases TakeLeases(const RulesInForce& rules, const StoreFacts& facts,
                           anomaly::ProfileBook* book);

  // Null if no policy has a rule about anomalies. `leases` are those of the
  // same rules; `rules` outlives the watch.
  // `before` is the watch that this one replaces, or null: what it has of a
  // rule that watches the same way, the Store's calls so far, goes on.
  // What begins to watch after the Store has made calls teaches nothing.
  struct Options {
    anomaly::ProfileBook* book = nullptr;
    bool has_calls = false;
    // For TakeAnswers and DescribeScores.
    bool keep_answers = false;
  };
  static std::unique_ptr<AnomalyWatch> Make(
      const RulesInForce& rules, const StoreFacts& facts,
      const Options& options, Leases leases,
      std::unique_ptr<AnomalyWatch> before);

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
  void Calling(CallMoment& moment, std::vector<Finding>* findings);
  // For tests of policies, which have no profiles: the next call is judged by
  // `score`, as if an approved profile had said so.
  void TellScore(const anomaly::Score& score) { told_ = score; }
  // It has ended.
  void Returned(CallContext& call);

  void NoteAlert() { teaches_ = false; }
  bool teaches() const { return teaches_; }
  // With keep_answers. What the rules that judged the last call said of it, if
  // nobody has asked yet: one answer of each.
  std::vector<ConditionAnswer> TakeAnswers() {
    return std::exchange(answers_, {});
  }
  // What they scored it; "call-shape: score.frame" where there are several.
  void DescribeScores(std::vector<FactText>* facts) const;

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
    std::optional<anomaly::Score> score;  // of the last call; keep_answers
    // Of thresholds, then of frequency: whether it was true at the last call.
    std::vector<bool> is_on;
  };

  AnomalyWatch(const RulesInForce& rules, const StoreFacts& facts,
               const Options& options)
      : rules_(rules),
        store_(facts),
        book_(options.book),
        keep_answers_(options.keep_answers) {}

  // The one whose stream goes on under `rule`; null if there is none.
  Watched* FindSame(const AnomalyRule& rule);
  void Judge(Watched& watched, const anomaly::Score& score, CallMoment& moment,
             std::vector<Finding>* findings);
  // The exception that lets the call go; null if none does.
  const RuleException* ExceptionOf(const AnomalyRule& rule,
                                   const anomaly::Score& score,
                                   CallMoment& moment) const;
  void KeepAnswer(const Watched& watched, ConditionAnswer::Kind kind,
                  const RuleException* exception);
  // Whether a rule whose condition is `now` true speaks.
  static bool Speaks(const Rule& rule, bool now, size_t index,
                     Watched* watched);

  const RulesInForce& rules_;
  const StoreFacts& store_;
  anomaly::ProfileBook* const book_;
  const bool keep_answers_;
  std::vector<Watched> watched_;
  std::unique_ptr<expression::Scratch> scratch_;
  std::optional<anomaly::Score> told_;
  std::vector<ConditionAnswer> answers_;
  bool teaches_ = true;
  bool finished_ = false;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_ANOMALY_WATCH_H_
