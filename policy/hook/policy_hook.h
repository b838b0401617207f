// The call hook that asks policies.
//
// One for each Store, made from the policies that PolicySet::Select gave. What
// the policies say of an import is worked out once, when it is linked; a call
// then looks its plan up by the binding's number. A call that is simply allowed
// costs an increment, a comparison with the host call budget and, in one of
// kDecisionSampleEvery, two clock readings: no map, no lock, no allocation.
//
//   * OnLink wants kCallingHost of every function, also of one that is allowed
//     unconditionally: that is where calls are counted and where a Store that
//     has been ended refuses to go on. It wants kReturningFromHost only if some
//     verdict could end the Store, or if some rule reads the function's
//     results. Install the hook for all transitions.
//   * Several policies: each judges on its own, and the most severe verdict
//     counts. A tie is named by the smaller rule id, then policy name.
//   * deny answers in the host function's place where the function returns an
//     errno, else it is a trap. trap, kill_store and quarantine_module refuse
//     with a PolicyViolation. The last two latch: from then on every transition
//     of the Store refuses with that same object.
//   * Verdicts under audit are recorded and change nothing.
//   * What is judged at kReturningFromHost has a decision of its own. A
//   throttle
//     there delays the Store's next host call.
//   * The policies of a Store that lives can be replaced (Replace): its next
//     host call is judged by the new ones. What that costs the guest is an
//     exchange of a pointer and a pass over the functions that it imports:
//     plans are made, and old ones destroyed, elsewhere. A host call in
//     progress ends under the version that it began with; what unchanged rules
//     remember goes on; the number of host calls in the call from outside that
//     is live goes on, and is held against the new budget.
//
// Threads: the Store's, one at a time, but for what says otherwise. Ownership:
// shares the policies; `clock` and `sink` must outlive it. It must outlive its
// installation in the Store.

#ifndef CALLGATE_POLICY_HOOK_POLICY_HOOK_H_
#define CALLGATE_POLICY_HOOK_POLICY_HOOK_H_

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/anomaly/profile_book.h"
#include "policy/budgets.h"
#include "policy/expression/scratch.h"
#include "policy/file/problem.h"
#include "policy/hook/anomaly_watch.h"
#include "policy/hook/decision.h"
#include "policy/hook/engine_fault.h"
#include "policy/hook/event_judge.h"
#include "policy/hook/handle_names.h"
#include "policy/hook/inner_rules.h"
#include "policy/hook/policy_violation.h"
#include "policy/hook/rules_exchange.h"
#include "policy/hook/rules_in_force.h"
#include "policy/hook/rules_version.h"
#include "policy/hook/version_stack.h"
#include "policy/policy.h"
#include "policy/state/rule_states.h"
#include "policy/verdict.h"
#include "runtime/call_hook.h"
#include "runtime/call_ring.h"
#include "runtime/function_filter.h"

namespace callgate::policy {

// Must not go backwards; otherwise any origin will do.
using MonotonicClock = std::function<absl::Time()>;

class PolicyHook final : public CallHook {
 public:
  struct Options {
    // No policy is enforced above this mode.
    Mode mode_cap = Mode::kEnforce;
    // For facts about paths. Null: there are no such. Must outlive the hook.
    HandleNames* handles = nullptr;
    // Where profiles are, for rules about anomalies. Null: there are none, and
    // nothing is learned. Must outlive the hook.
    anomaly::ProfileBook* profiles = nullptr;
    // For `now` and the ends of exceptions.
    absl::Time (*wall_clock)() = absl::Now;
    // Keeps what conditions say, for DecisionRecord::facts, ::answers and
    // ::state, and for TakeAnswers(). A decision that is told then costs
    // allocations.
    bool keep_answers = false;
    // What rules remember of other Stores. Null: there are none. Must outlive
    // the hook.
    RuleStates* states = nullptr;
    // Host calls that the Store had made before this hook came: for one that
    // stands in for another.
    uint64_t calls_before = 0;
  };

  // At least one policy.
  PolicyHook(std::vector<std::shared_ptr<const Policy>> policies,
             StoreFacts facts, MonotonicClock clock, DecisionSink& sink,
             Options options);
  PolicyHook(std::vector<std::shared_ptr<const Policy>> policies,
             StoreFacts facts, MonotonicClock clock, DecisionSink& sink);
  ~PolicyHook() override;
  PolicyHook(const PolicyHook&) = delete;
  PolicyHook& operator=(const PolicyHook&) = delete;

  TransitionSet OnLink(const FunctionIdentity& function) override;
  Disposition OnTransition(CallContext& call) override;
  GrowthAnswer OnGrowth(const GrowthEvent& event) override;
  EntryAnswer OnFunctionEnter(const FunctionEntry& entry) override;
  // The default's alone: rules are about host functions and not about an
  // engine's work, and a latched verdict relies on every leave.
  bool Understands(HookProfile profile) const override {
    return profile == HookProfile::kWasmtime47;
  }

  const StoreFacts& facts() const { return facts_; }
  // The budgets that somebody must hold; see budgets.h.
  const EffectiveBudgets& budgets() const { return rules_->budgets(); }
  // kEnforce if any policy is enforced.
  Mode mode() const { return rules_->mode(); }

  // What rules are about inside the guest; before SetCallHook. See
  // InnerRules::SelectFunctions: the probes have to be those of HookOptions.
  // `selector` is asked from any thread when the policies are replaced.
  // So is `describer`, which may be null: then functions are judged for the
  // first time when they are entered.
  void SelectFunctions(InnerRules::Selector selector,
                       InnerRules::Describer describer = nullptr) {
    selector_ = std::move(selector);
    describer_ = std::move(describer);
    rules_->inner().SelectFunctions(selector_);
  }
  // Rules that cannot judge a function that they are about: InnerRules.
  std::vector<Problem> CheckFunctions() const {
    if (describer_ == nullptr) return {};
    return rules_->inner().CheckFunctions(describer_);
  }
  absl::Status AddProbes(FunctionFilter* probes) const {
    return rules_->inner().AddProbes(probes);
  }
  // Rules that none of the module's functions fits.
  const std::vector<InnerRules::Pending>& pending_rules() const {
    return rules_->inner().pending();
  }

  // For HookOptions::call_ring: what alerts carry. Null where no rule could
  // raise one.
  CallRing* call_ring() { return call_ring_.get(); }

  // Between calls: the policies have been replaced, and the Store should be
  // given the hook again, with the probes and the ring of the new ones. Until
  // then rules about functions that are not probed are pending.
  // Forgets what went with the probes that were.
  // SetReinstallDue: that could not be done.
  void SetReinstallDue() { reinstall_due_ = true; }
  bool TakeReinstallDue() {
    if (!std::exchange(reinstall_due_, false)) return false;
    rules_->inner().ForgetPlans();
    return true;
  }

  // The verdict that ended the Store, or null while it is usable.
  const std::shared_ptr<const PolicyViolation>& latched() const {
    return latched_;
  }

  // Whose limits calls from outside run under, so that their end can be put
  // down to the right budget. Holds until it is told anew.
  struct Arming {
    enum class Fuel : uint8_t { kPerCallBudget, kPerStoreBudget, kOther };
    Fuel fuel = Fuel::kPerCallBudget;
    // False: the caller's own deadline is earlier than wall_per_call.
    bool wall_is_budget = true;
    // Likewise of cpu_per_call.
    bool cpu_is_budget = true;
    // What the engine's stack is bounded by: kCallDepth or kStackBytes.
    Budget stack = Budget::kCallDepth;
  };
  void ArmCall(const Arming& arming) { arming_ = arming; }
  const Arming& arming() const { return arming_; }

  // Any thread; others may do the same, and the last one counts. At least one
  // policy. Makes the plans for every function that the Store has linked, which
  // the Store must not lose meanwhile. Returns what does not fit the Store's
  // functions: calls of those are faults of the engine under these policies.
  std::vector<Problem> Replace(
      std::vector<std::shared_ptr<const Policy>> policies);
  // Between calls: judges by what was given last from now on, and not only from
  // the next host call. So a budget can be looked at before a call.
  void TakeOver();
  // Any thread: destroys what has been replaced. To be called now and then.
  void CollectReplaced() { exchange_.Collect(); }
  // Any thread: whether what was given last waits to be taken over.
  bool has_offer() const { return exchange_.offered(); }

  // The Store's thread: by what it is judged, how often that has been replaced,
  // and the host calls so far.
  const std::vector<std::shared_ptr<const Policy>>& policies() const {
    return rules_->policies();
  }
  uint64_t replacements() const { return replacements_; }
  uint64_t calls_of_store() const { return calls_of_store_; }

  // The number, among all events of the tenant's Stores, of the last event of
  // this Store that looked at states which they share; 0 if there was none. Who
  // records a trace asks after each event: if it has changed, it is that
  // event's, and a replay has to keep the order of these numbers.
  uint64_t last_shared_event() const { return last_shared_event_; }

  // For tests of policies. The next host call is scored like this by rules
  // about anomalies; see AnomalyWatch::TellScore.
  void TellScore(const anomaly::Score& score) {
    if (anomaly_ != nullptr) anomaly_->TellScore(score);
  }
  // The next host call meets a fault of the engine's own. Right before it.
  void FailNextCall() {
    fails_next_ = true;
    // So that it comes by where it is judged, however quiet its plan is.
    next_host_call_mark_ = 0;
  }

  // What a call from outside has used, told after it. Records the budgets that
  // audit policies would have ended it for.
  struct Usage {
    uint64_t fuel = 0;
    uint64_t fuel_of_store = 0;  // all calls so far, this one included
    uint64_t host_bytes = 0;
    absl::Duration wall;
    absl::Duration cpu;
  };
  void ReportUsage(const Usage& usage);

  // Lets profiles learn from the Store, which is to make no call any more, if
  // nothing was found wrong with it: what the book said, of each rule that
  // records. Once; may wait for the disk.
  std::vector<absl::Status> FinishLearning();

  // With keep_answers: what every condition said that was asked since the last
  // time, with views into the policies.
  std::vector<ConditionAnswer> TakeAnswers();

  // A host function opens a handle for the guest: the how manieth it would be,
  // and whether it is refused for the open_handles budget. Not while the hook
  // judges.
  void ReportHandle(uint64_t number, bool refused);
  // Whether `cpu` is wanted for an audit policy's sake.
  bool measures_cpu() const;

  // Counts since the last drain. Between calls only.
  struct ImportCount {
    // As given to OnLink; lives as long as the Store.
    const FunctionIdentity* function = nullptr;
    // Calls that were simply allowed.
    uint64_t allowed = 0;
    // All others, by what happened to them.
    uint64_t allowed_with_record = 0;
    uint64_t stopped = 0;
  };
  struct Counts {
    // Functions with at least one call.
    std::vector<ImportCount> imports;
    // Transitions refused because the Store had been ended before.
    uint64_t refused_after_end = 0;
    uint64_t engine_faults = 0;
    // Conditions that could not be evaluated.
    uint64_t conditions_failed = 0;
    // Things that rules had to forget before their time.
    uint64_t losses = 0;
  };
  Counts DrainCounts();

 private:
  // A host function of the Store. In a cache line of its own, and found without
  // a multiplication.
  struct alignas(64) Linked {
    const FunctionIdentity* function = nullptr;
    ImportPlan* plan = nullptr;  // of rules_; null: nothing was linked
    // The plan has nothing to say, and takes no price.
    bool is_simple = false;
    void SetPlan(ImportPlan* to) {
      plan = to;
      is_simple = to->quiet && to->prices.empty();
    }
    uint64_t allowed = 0;
    uint64_t allowed_with_record = 0;
    uint64_t stopped = 0;
  };

  // A host call budget of one policy.
  struct HostCallLimit {
    uint64_t max = 0;
    size_t policy = 0;
    Mode mode = Mode::kEnforce;
    bool recorded = false;  // in this call from outside; for audit
  };

  // A host call whose end is judged, too.
  struct LiveCall {
    const FunctionIdentity* function = nullptr;
    RulesInForce* rules = nullptr;
    ImportPlan* plan = nullptr;  // of rules
    uint32_t depth = 0;
    uint64_t number = 0;
    uint64_t calls_before = 0;
    std::vector<ImportJudge::Kept> kept;  // by judge
  };
  class Findings;

  RuleMatch MatchOf(const Rule& rule, size_t policy, Verdict verdict, Mode mode,
                    absl::string_view message);
  // Null for a function that was never linked.
  Linked* LinkedOf(const FunctionIdentity& function);

  std::unique_ptr<RulesVersion> MakeVersion(
      std::vector<std::shared_ptr<const Policy>> policies) const;
  // Makes what was offered the rules that count, from a host call of this depth
  // on; 0: between calls.
  void Adopt(uint32_t depth);
  // What follows from rules_ once, when they are new.
  void SetOut();
  VersionStack::Retire Retirement();

  void BeginCallFromOutside();
  // Whether nobody has anything to say of it; counts it then.
  bool IsSimplyAllowed(const CallContext& call);
  Disposition EnterHost(CallContext& call);
  Disposition JudgeHostCall(CallContext& call, Linked& linked);
  // Takes the price of a call. Nothing: it is paid.
  std::optional<Disposition> Charge(CallContext& call, Linked& linked);
  Disposition LeaveHost(CallContext& call);
  Disposition JudgeEnd(CallContext& call, const LiveCall& live,
                       ImportPlan& plan);
  Disposition LeaveGuest(CallContext& call);

  // These add to matches_ what they find.
  void AddHostCallBudgets();
  // What rate limits and temporal rules say, before the call and after it.
  // Remembers the call. `event` is its number.
  void AddMetered(ImportPlan& plan, CallMoment& moment, uint64_t event);
  void AddMeteredAfter(ImportPlan& plan, CallMoment& moment, uint64_t event);
  void AddArguments(CallContext& call, const ImportPlan& plan);
  // Conditions: takes the facts, then asks every rule that has one.
  void AddJudged(const ImportPlan& plan, PlannedJudge& judge,
                 CallMoment& moment);
  // Judges by one rule, and of a sampled decision tells how long that took.
  ImportJudge::Outcome Ask(PlannedJudge& judge, const SpecialisedRule& special,
                           const Rule& rule, CallMoment& moment);
  // Adds what restricts now, or after the call. `is_denied`: an argument of the
  // call is, and its facts are absent.
  void AddRestrictions(const ImportPlan& plan, PlannedJudge& judge,
                       CallMoment& moment, bool after, bool is_denied);
  // With the lock of what is shared held.
  void KeepStates(const ImportPlan& plan);
  void KeepAnswer(size_t policy, const Rule& rule,
                  const ImportJudge::Outcome& outcome);
  void KeepAnswer(size_t policy, const Rule& rule,
                  const EventJudge::Outcome& outcome);
  void DescribeFacts(const CallContext& call, const ImportPlan& plan,
                     CallMoment& moment);
  void DescribeFacts(EventMoment& moment, const InnerRules::Plan& plan,
                     DecisionRecord* record);
  void NoteFailure(const Rule& rule, size_t policy, const std::string& why);
  void NoteLoss(const Rule& rule, size_t policy);
  // Of matches_, the one that names the verdict; null if nothing is enforced.
  const RuleMatch* Enforced() const;
  bool IsStopped() const;
  // How long a throttled call of `rule` waits now.
  absl::Duration DelayOf(const Rule& rule);
  void AddEngineFault(EngineFault fault, const ImportPlan* plan,
                      absl::string_view what);
  // The budget that the Store would be over after a growth.
  std::optional<Budget> BudgetOver(const GrowthEvent& event) const;
  // The budget that a growth is refused for, where it is told; `is_allowed` is
  // what limits and budgets say.
  std::optional<Budget> AddGrowthBudget(const GrowthEvent& event,
                                        bool is_allowed);
  void AddInner(InnerRules::Plan& plan, InnerEvent event, EventMoment& moment);
  void AddAnomalies(const ImportPlan& plan);
  void KeepAnswersOfAnomalies();
  void NoteAlertsOfOthers();

  // Reports matches_, which is not empty. Returns the enforced verdict, having
  // latched it if it ends the Store; `violation` then has what to refuse with
  // where it stops the guest.
  struct Judgement {
    Verdict verdict = Verdict::kAllow;
    uint32_t guest_errno = 0;
    absl::Duration delay;
    std::shared_ptr<const PolicyViolation> violation;
  };
  Judgement Conclude(DecisionRecord record);
  // `linked` is null for a function that was never linked.
  Disposition ConcludeHostCall(CallContext& call, Linked* linked,
                               bool over_budget);
  DecisionRecord RecordOf(CallContext& call) const;
  // Proceeds, after `delay` or what is still owed, if that is longer.
  Disposition ProceedAfter(CallContext& call, absl::Duration delay);
  void KeepFacts(CallContext& call, ImportPlan& plan, uint64_t event);
  void ConcludeCallEnd(Budget budget, uint32_t depth, Judgement* judgement);
  void RecordAuditBudget(DecisionRecord::Subject subject, size_t policy,
                         Budget budget, uint64_t used);
  void AuditGrowth(const GrowthEvent& event);
  // Says how many events of the call were not told, if any.
  void TellHeldEvents();

  // Constant after construction.
  const StoreFacts facts_;
  const MonotonicClock clock_;
  DecisionSink& sink_;
  const Options options_;

  // Set before anything is linked.
  InnerRules::Selector selector_;
  InnerRules::Describer describer_;
  // Where there are no others.
  std::unique_ptr<RuleStates> own_states_;
  std::unique_ptr<StoreStates> states_;
  VersionStack versions_;
  RulesInForce* rules_;                  // of the current version
  std::unique_ptr<CallRing> call_ring_;  // null: nobody would read it
  // The Store has other probes, or another ring, than the rules want.
  bool reinstall_due_ = false;
  // Null without rules about anomalies.
  std::unique_ptr<AnomalyWatch> anomaly_;
  // By binding.
  std::vector<Linked> linked_;
  // Which transitions are wanted has changed, and the Store does not know.
  bool relink_due_ = false;
  RulesExchange exchange_;
  // The functions that were linked, for other threads.
  std::mutex functions_mu_;
  std::vector<const FunctionIdentity*> functions_;
  // Made when the first import has a condition.
  std::unique_ptr<expression::Scratch> scratch_;

  // The call from outside that is live.
  Arming arming_;
  // Of the guest that runs; activations as CallContext::depth counts them.
  uint32_t guest_depth_ = 0;
  uint64_t host_calls_ = 0;
  // By ascending limit. The first is what host_calls_ is compared with.
  std::vector<HostCallLimit> host_call_limits_;
  uint64_t next_host_call_mark_ = ~uint64_t{0};
  // Bits of the budgets already recorded in this call: a trap passes through
  // every activation, and a guest may ask for growth in a loop.
  uint32_t budgets_recorded_ = 0;
  uint32_t audit_growth_recorded_ = 0;
  uint64_t events_ = 0;
  uint64_t events_held_back_ = 0;
  // By policy: fuel that audit policies would have taken for host calls beyond
  // what was taken; of the call, and of all calls.
  std::vector<uint64_t> audit_price_;
  std::vector<uint64_t> audit_price_of_store_;

  // Innermost last; beyond live_count_ they are kept for their memory.
  std::vector<std::unique_ptr<LiveCall>> live_;
  size_t live_count_ = 0;
  uint64_t last_shared_event_ = 0;
  bool fails_next_ = false;
  // Of a call that was throttled after it: the next one waits.
  absl::Duration owed_delay_;

  std::shared_ptr<const PolicyViolation> latched_;
  uint64_t decisions_ = 0;
  // How many decisions the one in progress stands for; 0: it is no sample.
  uint64_t sample_weight_ = 0;
  uint64_t records_ = 0;
  uint64_t refused_after_end_ = 0;
  uint64_t engine_faults_ = 0;
  uint64_t conditions_failed_ = 0;
  uint64_t losses_ = 0;
  uint64_t calls_of_store_ = 0;
  uint64_t replacements_ = 0;
  std::bitset<kEngineFaults> faults_told_;
  // Of the event that is being judged; kept for their capacity.
  std::vector<AnomalyWatch::Finding> findings_;
  std::vector<RuleMatch> matches_;
  std::deque<std::string> texts_;
  // With keep_answers.
  std::vector<ConditionAnswer> answers_;
  std::vector<FactText> fact_texts_;
  std::vector<FactText> state_texts_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_POLICY_HOOK_H_
