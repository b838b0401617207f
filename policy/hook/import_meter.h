// What one policy's rate limits and temporal rules have to say of the calls of
// one import, and what they remember of them.
//
// An ImportJudge has the facts of the call. For each event the hook asks, in
// this order and for all policies before the next step,
//
//   Limits    takes the tokens                          (before, or after)
//   Judge     what the past makes of this call          (before, denied, after)
//   Commit    remembers the call, once its verdict is known
//
// at kCallingHost with what is known then; what reads results is asked at
// kReturningFromHost, or at once if the call does not happen. Shared states
// want StoreStates::shared_mutex() held over all of it, so that events of
// several threads have one order.
//
// A condition that cannot be evaluated counts as true where that restricts: for
// limits, windows, steps and what requires something. It counts as false for
// what would clear a call: `unless` and `formerly`.
//
// One thread, the Store's. An event allocates nothing once its states have
// their memory, but for messages.

#ifndef CALLGATE_POLICY_HOOK_IMPORT_METER_H_
#define CALLGATE_POLICY_HOOK_IMPORT_METER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/expression/scratch.h"
#include "policy/expression/value.h"
#include "policy/hook/import_judge.h"
#include "policy/policy.h"
#include "policy/specialised_import.h"
#include "policy/state/facts_record.h"
#include "policy/state/fingerprint.h"
#include "policy/state/rule_state.h"
#include "policy/temporal/moment.h"

namespace callgate::policy {

// Where a meter leaves what it finds: the hook.
class MeterFindings {
 public:
  virtual ~MeterFindings() = default;

  // The rule matches. `delay`: how long a throttled call waits, if not by the
  // rule's throttle.
  virtual void AddMatch(size_t policy, const Rule& rule, bool is_rate_limit,
                        std::string message,
                        std::optional<absl::Duration> delay) = 0;
  // Something was forgotten for this call. `traps`: the rule wants to know.
  virtual void AddLoss(size_t policy, const Rule& rule, bool traps) = 0;
  // What a condition said, of one step where there are several. Only if
  // wants_answers().
  virtual void AddAnswer(size_t policy, const Rule& rule,
                         const ImportJudge::Outcome& outcome) = 0;
  bool wants_answers() const { return wants_answers_; }
  // A condition could not be evaluated.
  virtual void AddFailure(size_t policy, const Rule& rule,
                          const std::string& why) = 0;

 protected:
  bool wants_answers_ = false;
};

class ImportMeter {
 public:
  // `states` as Policy::StateShapes(). `policy` and the judge's import outlive
  // this; `index` is how findings name the policy.
  ImportMeter(size_t index, const Policy& policy,
              const SpecialisedImport& import,
              absl::Span<const std::shared_ptr<RuleState>> states);

  // An event, as a meter sees it.
  struct Event {
    ImportJudge& judge;
    CallMoment& moment;
    expression::Scratch* scratch;
    temporal::Moment now;
    uint64_t number;  // the same when it begins and when it ends
    const FingerprintKey& key;
    MeterFindings& findings;
  };

  enum class Phase : uint8_t {
    kBefore,
    kDenied,  // reads call.denied
    kAfter,   // reads result.*
  };

  void Limits(const Event& event, bool after);
  // `stopped`: the call does not happen, as far as that is known.
  void Judge(const Event& event, Phase phase, bool stopped);
  // `stopped`: it does not. `after`: it has.
  void Commit(const Event& event, bool stopped, bool after);

  // What the rules of this import remember now, one line each.
  void DescribeStates(std::vector<FactText>* states) const;

  // Whether some state is shared with other Stores.
  bool shares() const { return shares_; }
  bool runs_after() const { return runs_after_; }
  bool reads_denied() const { return reads_denied_; }

 private:
  struct Limit {
    const SpecialisedLimit* special;
    const RateLimit* limit;
    std::shared_ptr<RuleState> state;
    std::optional<uint64_t> fixed_key;
  };
  struct Temporal {
    const SpecialisedTemporal* special;
    const TemporalRule* rule;
    std::shared_ptr<RuleState> state;
    std::optional<uint64_t> fixed_key;
    // By step: where its facts begin among `past`, and one more.
    std::vector<size_t> past_of_step;
  };
  using Attempt = RuleState::Sequence::Attempt;

  // Whether the rule is about this call. `*why` has an error where it counts as
  // true for one.
  bool Holds(const Rule& rule, const SpecialisedRule& says, const Event& event,
             std::string* why);
  // Whether `when` holds; `if_failed` if that cannot be said.
  bool StepHolds(const Rule& rule, const SpecialisedStep& step,
                 const Event& event, bool if_failed);
  void Fail(const Rule& rule, const expression::Program& program,
            const expression::Value& error, const Event& event,
            std::string* why);
  void AddMatch(const Rule& rule, const SpecialisedRule& says,
                const Event& event, const std::string& why,
                absl::string_view sentence, bool is_rate_limit = false,
                std::optional<absl::Duration> delay = std::nullopt);
  uint64_t KeyOf(const SpecialisedKey& key, const StateShape& shape,
                 const Event& event, std::optional<uint64_t>* fixed);

  void JudgeWindow(Temporal& t, const Event& event);
  void JudgeSum(Temporal& t, const Event& event, const std::string& why);
  void JudgeRequire(Temporal& t, const Event& event);
  void JudgeSequence(Temporal& t, const Event& event);
  // Adds an amount that does not count in flight.
  void SettleSum(Temporal& t, const Event& event);
  void CommitSequence(Temporal& t, const Event& event, bool stopped,
                      bool after);
  void CommitFormerly(Temporal& t, const Event& event, bool stopped,
                      bool after);
  // The amount of a sum; nothing if there is none to be had.
  std::optional<uint64_t> AmountOf(Temporal& t, const Event& event,
                                   std::string* why);

  // Makes facts of steps those of `attempt`, which may be null, and of the
  // present call for the step that it is.
  void FillPast(const Temporal& t, const Attempt* attempt, size_t present,
                bool for_message, const Event& event);
  // Copies the present call's facts of one step.
  void FillRecord(const Temporal& t, size_t step, const Event& event,
                  FactsRecord* record);
  void Account(const Temporal& t, bool has_lost, const Event& event);

  size_t index_;
  const SpecialisedImport* import_;
  std::vector<Limit> limits_;
  std::vector<Temporal> temporal_;
  bool shares_ = false;
  bool runs_after_ = false;
  bool reads_denied_ = false;
  // Kept for their memory.
  FactsRecord::Items items_;
  std::vector<expression::Value> values_;
  std::vector<expression::Value> late_facts_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_IMPORT_METER_H_
